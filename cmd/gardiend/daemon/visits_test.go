package daemon

import (
	"net/url"
	"testing"

	"gardien/gateway/api"
)

// TestVisitsPageByPage: more visits than one answer has come in several, each once and in order, though
// many of them begin at once.
func TestVisitsPageByPage(t *testing.T) {
	h := build(t)
	h.start(t)
	h.stop()
	fillVisits(t, h.cfg.Gateway.StateDir, 1100, false)
	h.start(t)
	seen, pages := map[string]bool{}, []int{}
	for q := (url.Values{}); ; {
		var page api.Visits
		if err := h.client.Do(t.Context(), "GET", "/v1/visits?"+q.Encode(), nil, &page); err != nil {
			t.Fatal(err)
		}
		pages = append(pages, len(page.Visits))
		last := ""
		for _, v := range page.Visits {
			if key := v.Grant + " " + string(v.Door); seen[key] || v.From < last {
				t.Fatalf("twice, or out of order: %+v", v)
			} else {
				seen[key] = true
			}
			last = v.From
		}
		if page.Next == "" {
			break
		}
		q.Set("after", page.Next)
	}
	if len(seen) != 2200 || len(pages) != 3 || pages[0] != api.MaxVisits || pages[1] != api.MaxVisits {
		t.Errorf("%d visits on pages of %v, want 2200 on three", len(seen), pages)
	}
}
