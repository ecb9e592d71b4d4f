package daemon

import (
	"context"

	"gardien/gateway/access"
	"gardien/gateway/api"
)

// mailbagService serves the mailbag to the API.
type mailbagService struct{ g *Gateway }

// Take implements api.MailbagService. What an item says its id is goes back to whoever sent it, and
// is believed in nothing (I4).
func (s mailbagService) Take(ctx context.Context, n int, item func(int) api.MailbagItem, turn func(context.Context) (func(), error)) ([]api.MailbagResult, error) {
	results := make([]api.MailbagResult, n)
	noted := func(i int) api.MailbagItem {
		it := item(i)
		results[i].ID = it.ID
		return it
	}
	taken, err := s.g.access.TakeBag(ctx, access.Bag{Len: n, Item: noted}, turn)
	if err != nil {
		return nil, err
	}
	for i, in := range taken {
		results[i].Result = in.Result
		if results[i].ID == "" && in.ID.JTI != "" {
			results[i].ID = in.ID.String()
		}
		if in.Refusal != nil {
			results[i].Reason, results[i].Detail = in.Refusal.Reason, in.Refusal.Detail
		}
	}
	return results, nil
}
