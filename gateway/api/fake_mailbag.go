package api

import (
	"context"

	"gardien/gateway"
)

// fakeMailbag accepts the grant "good".
type fakeMailbag struct{}

func (fakeMailbag) Take(ctx context.Context, n int, item func(int) MailbagItem, turn func(context.Context) (func(), error)) ([]MailbagResult, error) {
	list := []MailbagResult{}
	for i := range n {
		leave, err := turn(ctx)
		if err != nil {
			return nil, err
		}
		res := MailbagResult{ID: "home/g1", Result: "accepted"}
		if it := item(i); it.Body != "good" {
			res = MailbagResult{it.ID, "rejected", gateway.UnknownCredential, "not signed"}
		}
		list = append(list, res)
		leave()
	}
	return list, nil
}
