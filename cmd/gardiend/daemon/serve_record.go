package daemon

import (
	"context"

	"gardien/gateway"
	"gardien/gateway/api"
)

// recordService serves the record to the API.
type recordService struct{ g *Gateway }

// Events implements api.RecordService.
func (s recordService) Events(ctx context.Context, after int64, limit int) ([]gateway.Event, error) {
	return s.g.store.Events(ctx, after, limit)
}

// Watch implements api.RecordService.
func (s recordService) Watch() (<-chan struct{}, func()) { return s.g.store.Watch() }

// Verify implements api.RecordService.
func (s recordService) Verify(ctx context.Context) (api.Verification, error) {
	v, err := s.g.store.Verify(ctx)
	out := api.Verification{OK: v.OK, Events: v.Events, Problem: v.Problem}
	if v.FirstBad != 0 {
		out.FirstBad = &v.FirstBad
	}
	return out, err
}

// Forget implements api.RecordService.
func (s recordService) Forget(ctx context.Context, ref string) (int64, error) {
	return s.g.store.Forget(ctx, ref)
}
