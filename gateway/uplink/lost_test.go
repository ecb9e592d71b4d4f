package uplink

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gardien/gateway"
)

// A cloud that restarts makes no noise; of one that says that it will be long, the residents are
// told at once, and not after a second try.
func TestLostForLong(t *testing.T) {
	for _, tt := range []struct {
		retry time.Duration
		want  []gateway.EventType
	}{
		{3 * time.Second, []gateway.EventType{gateway.CloudConnected}},
		{time.Minute, []gateway.EventType{gateway.CloudConnected, gateway.CloudLost}},
	} {
		synctest.Test(t, func(t *testing.T) {
			c := newFakeCloud()
			c.setSpoil(func(w http.ResponseWriter, q *http.Request) bool {
				if !strings.Contains(q.URL.Path, "/feed") || q.URL.Query().Get("epoch") == "" {
					return false
				}
				w.Header().Set("Content-Type", "text/event-stream")
				io.WriteString(w, "event: head\ndata: {\"epoch\":\"e1\",\"head\":0,\"floor\":0,\"digest\":\""+strings.Repeat("A", 43)+"\"}\n\n")
				w.(http.Flusher).Flush()
				select {
				case <-time.After(8 * time.Second):
				case <-q.Context().Done():
					return true
				}
				fmt.Fprintf(w, "event: goaway\ndata: {\"retry_ms\":%d}\n\n", tt.retry.Milliseconds())
				return true
			})
			r := start(t, c.ServeHTTP, nil)
			defer r.stop()
			time.Sleep(9 * time.Second)
			synctest.Wait()
			if !slices.Equal(r.notified, tt.want) {
				t.Errorf("goaway for %s: told %v a second later, want %v", tt.retry, r.notified, tt.want)
			}
		})
	}
}
