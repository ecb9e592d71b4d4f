package api

import (
	"context"
	"net/http"

	"gardien/gateway"
)

type fakeHealth struct{ *Fake }

// Findings are two: residents see that all third parties are paused, too.
func (fakeHealth) Findings(_ context.Context, house bool) ([]Finding, error) {
	front := "front"
	list := []Finding{{Key: "lock.jammed.front", Severity: gateway.SeverityNow, Subject: &front, Since: fakeTime}}
	if house {
		list = append(list, Finding{Key: "pause", Severity: gateway.SeverityInfo, Since: fakeTime})
	}
	return list, nil
}

func (f fakeHealth) See(_ context.Context, by Caller, key string) error {
	if key == "task.down.full" {
		return Fail(http.StatusConflict, "conflict", "no more marks are kept")
	}
	return f.act(by, "see", key, "lock.jammed.front", "pause")
}
