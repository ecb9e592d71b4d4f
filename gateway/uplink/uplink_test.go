package uplink

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gardien/gateway"
)

// bomb is 10 MiB in 10 KiB.
var bomb = sync.OnceValue(func() []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write(make([]byte, 10<<20))
	z.Close()
	return b.Bytes()
})

// What answers is not our cloud, or not in a way that can be used: nothing is believed,
// the gateway does not ask too often, and it comes back when the cloud does.
func TestStrangeAnswers(t *testing.T) {
	html := func(w http.ResponseWriter, status int) {
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(status)
		io.WriteString(w, "<html>Welcome to the hotel. Please log in.")
	}
	for name, spoil := range map[string]http.HandlerFunc{
		"captive portal":         func(w http.ResponseWriter, _ *http.Request) { html(w, 200) },
		"captive portal, as 410": func(w http.ResponseWriter, q *http.Request) { html(w, 410) },
		"redirect": func(w http.ResponseWriter, q *http.Request) {
			http.Redirect(w, q, "http://portal.example/", http.StatusFound)
		},
		"401": func(w http.ResponseWriter, _ *http.Request) { answerJSON(w, 401, `{"detail":"who?"}`) },
		"403": func(w http.ResponseWriter, _ *http.Request) { answerJSON(w, 403, `{}`) },
		"404": func(w http.ResponseWriter, _ *http.Request) { answerJSON(w, 404, `not JSON`) },
		"429": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "20")
			answerJSON(w, 429, `{}`)
		},
		"500":                     func(w http.ResponseWriter, _ *http.Request) { answerJSON(w, 500, ``) },
		"410, and no snapshot":    func(w http.ResponseWriter, q *http.Request) { answerJSON(w, 410, `{"epoch":"e9","head":1,"floor":1}`) },
		"JSON in place of a feed": func(w http.ResponseWriter, _ *http.Request) { answerJSON(w, 200, `{}`) },
		"nothing, slowly":         func(_ http.ResponseWriter, q *http.Request) { <-q.Context().Done() },
		"the connection closes":   func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"a feed of half an event": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			io.WriteString(w, "event: item\ndata: {")
		},
		"a feed that is not JSON": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			io.WriteString(w, "event: head\ndata: {]\n\n")
		},
		"an endless line": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			for b := make([]byte, 32<<10); ; {
				if _, err := w.Write(b); err != nil {
					return
				}
			}
		},
		"an endless answer": func(w http.ResponseWriter, q *http.Request) {
			if strings.HasSuffix(q.URL.Path, "/feed") {
				answerJSON(w, 410, `{}`)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			for {
				if _, err := io.WriteString(w, strings.Repeat(" ", 1<<20)); err != nil {
					return
				}
			}
		},
		"a gzip bomb": func(w http.ResponseWriter, q *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Encoding", "gzip")
			w.Write(bomb())
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newFakeCloud()
				c.put(itemOf("a", 1))
				c.setSpoil(func(w http.ResponseWriter, q *http.Request) bool { spoil(w, q); return true })
				r := start(t, c.ServeHTTP, nil)
				defer r.stop()
				time.Sleep(10 * time.Minute)
				if len(r.items) != 0 || r.snapshots != 0 {
					t.Errorf("%d items were taken", len(r.items))
				}
				if s, why := r.uplink.State(); s != Disconnected || why == "" {
					t.Errorf("state %s: %q", s, why)
				}
				// With a mean of half a minute between tries, and a second request for some answers.
				if n := len(r.requests()); n > 180 {
					t.Errorf("%d requests in ten minutes", n)
				}
				c.setSpoil(nil)
				time.Sleep(3 * time.Minute)
				level(t, r, c, "when the cloud is back")
				if s, _ := r.uplink.State(); s != Connected {
					t.Errorf("state %s", s)
				}
			})
		})
	}
}

// Full jitter from 0.5 s to 60 s; a link that comes up begins anew (N7).
func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCloud()
		r := start(t, c.ServeHTTP, nil)
		defer r.stop()
		synctest.Wait()
		r.net.setRefuse(true)
		synctest.Wait()
		was := r.net.dialled()
		time.Sleep(2 * time.Second)
		early := r.net.dialled() - was
		time.Sleep(time.Hour)
		was = r.net.dialled()
		time.Sleep(time.Hour)
		late := r.net.dialled() - was
		// A mean of 30 s is 120 an hour for the feed; nothing waits to go up.
		if early < 2 || late < 60 || late > 240 {
			t.Errorf("%d tries in the first two seconds, %d in a later hour", early, late)
		}
		r.net.setRefuse(false)
		begun := time.Now()
		poke(r.linkUp)
		synctest.Wait()
		if s, _ := r.uplink.State(); s != Connected || time.Since(begun) != 0 {
			t.Errorf("%s %s after a link came up", s, time.Since(begun))
		}
		if want := []gateway.EventType{gateway.CloudConnected, gateway.CloudLost, gateway.CloudConnected}; !slices.Equal(r.notified, want) {
			t.Errorf("told %v", r.notified)
		}
	})
}

// A refused connection that heals is back within 2 s: the first delays are short.
func TestBackAfterRefusal(t *testing.T) {
	for n := range 20 {
		synctest.Test(t, func(t *testing.T) {
			c := newFakeCloud()
			r := start(t, c.ServeHTTP, nil)
			defer r.stop()
			synctest.Wait()
			r.net.setRefuse(true)
			time.Sleep(time.Duration(n) * 50 * time.Millisecond)
			c.put(itemOf("a", 1))
			r.net.setRefuse(false)
			time.Sleep(2 * time.Second)
			level(t, r, c, "2 s after it healed")
		})
	}
}

// The kernel repeats itself: what is up already is no news.
func TestLinkNews(t *testing.T) {
	message := func(kind uint16, body ...byte) []byte {
		b := binary.NativeEndian.AppendUint32(nil, uint32(16+len(body)))
		b = binary.NativeEndian.AppendUint16(b, kind)
		return append(append(b, make([]byte, 10)...), body...)
	}
	link := func(kind uint16, index, flags uint32) []byte {
		b := binary.NativeEndian.AppendUint32(make([]byte, 4), index)
		b = binary.NativeEndian.AppendUint32(b, flags)
		return message(kind, append(b, 0, 0, 0, 0)...)
	}
	address := func(kind uint16, index uint32, last byte) []byte {
		b := binary.NativeEndian.AppendUint32(make([]byte, 4), index)
		b = binary.NativeEndian.AppendUint16(b, 8)
		b = binary.NativeEndian.AppendUint16(b, 1) // IFA_ADDRESS
		return message(kind, append(b, 192, 0, 2, last)...)
	}
	const newLink, delLink, newAddr, delAddr, up, running = 16, 17, 20, 21, 1, 0x40
	seen := links{}
	for n, step := range []struct {
		message []byte
		news    bool
	}{
		{link(newLink, 2, up), false}, {link(newLink, 2, up|running), true}, {link(newLink, 2, up|running), false},
		{address(newAddr, 2, 7), true}, {address(newAddr, 2, 7), false}, {address(newAddr, 2, 8), true},
		{address(delAddr, 2, 7), false}, {address(newAddr, 2, 7), true},
		{link(newLink, 2, up), false}, {link(newLink, 2, up|running), true},
		{link(delLink, 2, 0), false}, {link(newLink, 2, up|running), true},
		{append(link(newLink, 2, up|running), address(newAddr, 3, 7)...), true},
		{message(newLink), false}, {message(newAddr, 1, 2), false}, {[]byte{200, 0, 0, 0, 1}, false}, {nil, false},
	} {
		if got := seen.cameUp(step.message); got != step.news {
			t.Errorf("message %d: news %v", n, got)
		}
	}
}

// A gateway with a wrong clock gets in by the time that the cloud tells.
func TestClockOfAssertions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCloud()
		c.setSpoil(func(w http.ResponseWriter, q *http.Request) bool {
			theirs := time.Now().Add(26 * 365 * 24 * time.Hour)
			at, err := time.Parse("Bearer "+time.RFC3339, q.Header.Get("Authorization"))
			if err == nil && theirs.Sub(at).Abs() < time.Minute {
				return false
			}
			w.Header().Set("Date", theirs.UTC().Format(http.TimeFormat))
			answerJSON(w, 401, `{"detail":"iat"}`)
			return true
		})
		c.put(itemOf("a", 1))
		r := start(t, c.ServeHTTP, nil)
		defer r.stop()
		level(t, r, c, "with a clock of 26 years ago")
	})
}

// L4: in order, once each, whatever happens to answers.
func TestEventsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCloud()
		n := 0
		c.setSpoil(func(w http.ResponseWriter, q *http.Request) bool {
			if !strings.HasSuffix(q.URL.Path, "/events") {
				return false
			}
			switch n++; n % 5 {
			case 1:
				answerJSON(w, 503, `{}`)
				return true
			case 3: // it is taken, and the answer is lost
				c.events(discard{}, q)
				panic(http.ErrAbortHandler)
			}
			return false
		})
		r := start(t, c.ServeHTTP, nil)
		defer r.stop()
		for range 20 {
			r.write(37)
			time.Sleep(3 * time.Second)
		}
		time.Sleep(5 * time.Minute)
		check := func(when string) {
			t.Helper()
			up := c.letters()
			if len(up) != len(r.letters) {
				t.Errorf("%s: %d of %d came", when, len(up), len(r.letters))
			}
			for i, l := range up {
				if l != r.letters[i] {
					t.Fatalf("%s: letter %d is %+v", when, i, l)
				}
			}
		}
		check("over lost answers")
		c.setSpoil(nil)
		// The cloud is restored from a backup: it has lost the last 500, and says so when it is
		// asked on the next connection, though nothing new waits.
		c.change(func() { c.up = c.up[:240]; c.logs["log-1"] = 240; c.epoch = "e2" })
		r.net.setRefuse(true)
		r.net.setRefuse(false)
		time.Sleep(time.Minute)
		check("after a restore")
		// It may also say it in its own words.
		c.setSpoil(func(w http.ResponseWriter, q *http.Request) bool {
			if !strings.HasSuffix(q.URL.Path, "/events") {
				return false
			}
			c.setSpoil(nil)
			answerJSON(w, 409, `{"resend_from":101}`)
			return true
		})
		c.change(func() { c.up = c.up[:100]; c.logs["log-1"] = 100 })
		r.write(1)
		time.Sleep(time.Minute)
		check("after resend_from")
	})
}

type discard struct{}

func (discard) Header() http.Header         { return http.Header{} }
func (discard) Write(b []byte) (int, error) { return len(b), nil }
func (discard) WriteHeader(int)             {}

func TestEnrolAndDescriptor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCloud()
		r := start(t, c.ServeHTTP, nil)
		defer r.stop()
		synctest.Wait()
		r.memory.mu.Lock()
		r.registered = "an older descriptor"
		r.memory.mu.Unlock()
		r.uplink.Again()
		time.Sleep(time.Second)
		if !slices.Contains(r.requests(), "PUT /v1/gateways/"+string(gw)) || r.registered != "the descriptor" {
			t.Errorf("the cloud was not told of the new descriptor: %v", r.requests())
		}
		r.memory.mu.Lock()
		r.registered = ""
		r.memory.mu.Unlock()
		r.uplink.Again()
		time.Sleep(time.Second)
		if s, why := r.uplink.State(); s != NotEnrolled || !strings.Contains(why, "gardien enrol") {
			t.Errorf("state %s: %s", s, why)
		}
		was := len(r.requests())
		time.Sleep(50 * time.Minute)
		if len(r.requests()) != was {
			t.Error("it asks before it is enrolled")
		}
		if err := r.uplink.Enrol(t.Context(), gateway.NewSecret("code")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if s, _ := r.uplink.State(); s != Connected {
			t.Errorf("state %s after it enrolled", s)
		}
	})
}
