package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"gardien/gateway"
)

// slowReceipts are of whoever asks, and take until he has gone.
type slowReceipts struct{}

func (slowReceipts) Holds(context.Context, gateway.AttemptID, gateway.Secret) (bool, error) {
	return true, nil
}

func (slowReceipts) Receipt(ctx context.Context, _ gateway.AttemptID) (string, bool, error) {
	<-ctx.Done()
	return "", false, ctx.Err()
}

// TestI2_HoldersOfReceipts: however many entries a carrier's phone asks the receipts of, and from however
// many addresses, other carriers and residents wait for their turn, and are not refused.
func TestI2_HoldersOfReceipts(t *testing.T) {
	for _, c := range []struct {
		addresses, in int
		next          string // who comes then
	}{{1, maxReadersEach, "holder"}, {1, maxReadersEach, "resident"}, {64, maxHolders, "resident"}} {
		synctest.Test(t, func(t *testing.T) {
			b := (&slowBackend{}).whole()
			b.Receipts = slowReceipts{}
			s := New(b, nil, slog.New(slog.DiscardHandler), make(chan struct{}))
			ctx, cancel := context.WithCancel(t.Context())
			var all sync.WaitGroup
			var in, refused atomic.Int64
			ask := func(address int, attempt string, caller Caller, proof bool) {
				all.Go(func() {
					r := httptest.NewRequestWithContext(ctx, "GET", "/v1/attempts/"+attempt+"/receipt", nil)
					r.RemoteAddr = fmt.Sprintf("10.0.0.%d:1", address)
					r.SetPathValue("id", attempt)
					if proof {
						r.Header.Set(proofHeader, "proof")
					}
					in.Add(1)
					_, err := receipts{s}.receipt(&request{Request: r, caller: caller})
					if p := (*Problem)(nil); errors.As(err, &p) && p.Status == http.StatusTooManyRequests {
						in.Add(-1)
						refused.Add(1)
					}
				})
			}
			for n := range 256 {
				ask(n%c.addresses, fmt.Sprint("a", n), Caller{}, true)
			}
			synctest.Wait()
			if int(in.Load()) != c.in {
				t.Errorf("%d addresses have %d places, want %d", c.addresses, in.Load(), c.in)
			}
			refused.Store(0)
			ask(200, "b", Caller{Resident: gateway.ResidentID("ada")}, c.next == "holder")
			synctest.Wait()
			if refused.Load() != 0 {
				t.Errorf("%d addresses shut out a %s", c.addresses, c.next)
			}
			cancel()
			all.Wait()
		})
	}
}
