package cloud

import (
	"context"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics is what an operator watches. No label names a gateway or an issuer.
type metrics struct {
	requests *prometheus.CounterVec
	streams  *prometheus.GaugeVec
	items    *prometheus.CounterVec
	letters  prometheus.Counter
	handler  http.Handler
}

func newMetrics(m Upkeep) *metrics {
	x := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "gardien_cloud_requests_total", Help: "Requests by route and status."}, []string{"route", "status"}),
		streams:  prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "gardien_cloud_streams", Help: "Open streams of this replica."}, []string{"kind"}),
		items:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "gardien_cloud_items_written_total", Help: "Items written, by kind."}, []string{"kind"}),
		letters:  prometheus.NewCounter(prometheus.CounterOpts{Name: "gardien_cloud_events_received_total", Help: "Sealed events received from gateways, doubles too."}),
	}
	r := prometheus.NewRegistry()
	r.MustRegister(x.requests, x.streams, x.items, x.letters, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for name, help := range map[string]string{"gateways": "Gateways that enrolled.", "gateways_online": "Gateways with an open feed, at any replica."} {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "gardien_cloud_" + name, Help: help}, func() float64 {
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
			defer cancel()
			s, err := m.Summary(ctx, time.Now())
			switch {
			case err != nil:
				return -1
			case name == "gateways":
				return float64(s.Gateways)
			}
			return float64(s.Online)
		}))
	}
	x.handler = promhttp.HandlerFor(r, promhttp.HandlerOpts{})
	return x
}

// serve answers this machine only; what a proxy passes on is somebody else's.
func (x *metrics) serve(w http.ResponseWriter, r *http.Request) {
	ip := net.ParseIP(address(r))
	if ip == nil || !ip.IsLoopback() || r.Header.Get("X-Forwarded-For") != "" || r.Header.Get("Forwarded") != "" {
		http.NotFound(w, r)
		return
	}
	x.handler.ServeHTTP(w, r)
}
