package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"gardien/gateway"
	"gardien/gateway/api"
)

// keep reads the record of a gateway that is level: what its issuer must get.
func (c *chaos) keep(n *node) {
	c.t.Helper()
	var st api.Status
	c.check(n.get("/v1/status", &st))
	var list []string
	for after := int64(0); ; {
		var page api.Events
		c.check(n.get(fmt.Sprintf("/v1/events?limit=1000&after=%d", after), &page))
		for _, e := range page.Events {
			if e.Issuer == chaosIssuer {
				list = append(list, eventKey(e))
			}
		}
		if after = page.Next; len(page.Events) < 1000 {
			break
		}
	}
	n.records[st.Log] = list
}

func eventKey(e gateway.Event) string {
	return strings.Join([]string{e.At, string(e.Type), e.Grant, string(e.Attempt), string(e.Reason)}, " ")
}

// level waits until a gateway has every grant as the issuer made it, and all its events
// have gone up.
func (c *chaos) level(n *node) {
	c.t.Helper()
	c.resend()
	var differ []string
	ok := func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		differ = nil
		have := map[string]api.Grant{}
		for after := ""; ; {
			var page api.Grants
			if n.get("/v1/grants?limit=1000&after="+url.QueryEscape(after), &page) != nil {
				return false
			}
			for _, g := range page.Grants {
				have[g.JTI] = g
			}
			if after = page.Next; after == "" {
				break
			}
		}
		for jti, i := range n.model {
			if g := have[jti]; g.Ver != i.Ver || g.Status != c.status[jti] {
				differ = append(differ, jti)
			}
		}
		return len(differ) == 0
	}
	for deadline := time.Now().Add(90 * time.Second); !ok(); <-time.After(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			var st api.Status
			n.get("/v1/status", &st)
			c.t.Fatalf("%s: %d grants differ 90 s after the last fault: %.5v; %s %v", filepath.Base(n.dir), len(differ), differ, st.Cloud, st.Notes)
		}
	}
	c.until("the watcher has the events of "+filepath.Base(n.dir), 90*time.Second, func() bool {
		c.keep(n)
		var st api.Status
		if n.get("/v1/status", &st) != nil {
			return false
		}
		return len(c.watched()[st.Log]) >= len(n.records[st.Log])
	})
}

// watched reads what the watcher has printed: events by log.
func (c *chaos) watched() map[string][]string {
	c.t.Helper()
	f, err := os.Open(c.path("watch.log"))
	c.check(err)
	defer f.Close()
	got := map[string][]string{}
	lines := bufio.NewReader(f)
	for {
		line, err := lines.ReadString('\n')
		if errors.Is(err, io.EOF) {
			return got
		}
		c.check(err)
		var d struct {
			Log   string        `json:"log"`
			Event gateway.Event `json:"event"`
		}
		if json.Unmarshal([]byte(line), &d) == nil && d.Log != "" {
			got[d.Log] = append(got[d.Log], eventKey(d.Event))
		}
	}
}

// compare holds each log's record against what came to the issuer.
func (c *chaos) compare() (total, lost, doubled int) {
	got := c.watched()
	for _, n := range []*node{c.one, c.two} {
		for log, want := range n.records {
			total += len(want)
			have := got[log]
			for i, e := range want {
				if i >= len(have) || have[i] != e {
					lost += len(want) - i
					c.t.Errorf("log %s of %s: event %d is %q", log, filepath.Base(n.dir), i, e)
					break
				}
			}
			doubled += max(0, len(have)-len(want))
		}
	}
	return total, lost, doubled
}
