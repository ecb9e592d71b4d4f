package uplink

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gardien/gateway"
)

// answers spoils the requests that end in a path.
func answers(path string, f http.HandlerFunc) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, q *http.Request) bool {
		if !strings.HasSuffix(q.URL.Path, path) {
			return false
		}
		f(w, q)
		return true
	}
}

// says writes a stream that ends behind these events; $HEAD is the feed's head.
func (c *fakeCloud) says(events string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		c.mu.Lock()
		head, _ := json.Marshal(c.headOf())
		c.mu.Unlock()
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, strings.ReplaceAll(events, "$HEAD", "event: head\ndata: "+string(head)+"\n\n"))
	}
}

// count counts the requests whose path ends so.
func (r *rig) count(path string) (n int) {
	for _, q := range r.requests() {
		if q, _, _ = strings.Cut(q, "?"); strings.HasSuffix(q, path) {
			n++
		}
	}
	return n
}

// N7: a cloud that is reached and of no use is asked as seldom as one that is away, and it
// is found when it is well.
func TestUselessConnections(t *testing.T) {
	wrong := "event: head\ndata: {\"epoch\":\"e1\",\"head\":0,\"digest\":\"" + strings.Repeat("B", 42) + "A\"}\n\n"
	for name, spoil := range map[string]func(c *fakeCloud) http.HandlerFunc{
		"410 for ever": func(*fakeCloud) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) { answerJSON(w, 410, `{"epoch":"e1"}`) }
		},
		"a digest that never fits":     func(c *fakeCloud) http.HandlerFunc { return c.says(wrong) },
		"a digest that fits, then not": func(c *fakeCloud) http.HandlerFunc { return c.says("$HEAD" + wrong) },
		"streams that end at once":     func(c *fakeCloud) http.HandlerFunc { return c.says("$HEAD") },
		"streams without a head":       func(c *fakeCloud) http.HandlerFunc { return c.says("") },
		"goaway":                       func(c *fakeCloud) http.HandlerFunc { return c.says("event: goaway\ndata: {\"retry_ms\":0}\n\n") },
		"a head and goaway":            func(c *fakeCloud) http.HandlerFunc { return c.says("$HEADevent: goaway\ndata: {}\n\n") },
		"a goaway that cannot be counted": func(c *fakeCloud) http.HandlerFunc {
			return c.says("$HEADevent: goaway\ndata: {\"retry_ms\":1e99}\n\n")
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newFakeCloud()
				var asked atomic.Int32
				useless := spoil(c)
				c.setSpoil(answers("/feed", func(w http.ResponseWriter, q *http.Request) {
					if asked.Add(1) > 2000 { // without a pause no time would pass
						<-q.Context().Done()
					}
					useless(w, q)
				}))
				r := start(t, c.ServeHTTP, nil)
				defer r.stop()
				time.Sleep(12 * time.Second)
				in12 := r.count("/feed")
				time.Sleep(8 * time.Second)
				in20 := r.count("/feed")
				time.Sleep(time.Hour)
				feeds, all := r.count("/feed"), len(r.requests())
				time.Sleep(time.Hour)
				feeds, all = r.count("/feed")-feeds, len(r.requests())-all
				t.Logf("%d feeds in 12 s, %d in 20 s, %d in a later hour, of %d requests", in12, in20, feeds, all)
				// A mean of 30 s is 120 an hour; each may be followed by a snapshot or a question.
				if in20 < 5 || in20 > 60 || feeds < 60 || feeds > 240 || all > 480 {
					t.Error("too many, or too few")
				}
				c.setSpoil(nil)
				time.Sleep(2 * time.Minute)
				c.put(itemOf("a", 1))
				level(t, r, c, "when it is well")
			})
		})
	}
}

// Polls that are not held are asked ever less often: nothing of them is a failure.
func TestPollsThatAreNotHeld(t *testing.T) {
	for name, page := range map[string]string{
		"empty": `{"epoch":"e1","head":0,"digest":"` + strings.Repeat("A", 43) + `"}`,
		"stale": `{"epoch":"e1","head":9,"digest":"` + strings.Repeat("A", 43) + `","items":[{"seq":0,"id":"i","kind":"grant"}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newFakeCloud()
				var polls atomic.Int32
				c.setSpoil(answers("/feed", func(w http.ResponseWriter, q *http.Request) {
					switch {
					case !strings.Contains(q.URL.RawQuery, "epoch=e1"):
						answerJSON(w, 410, `{}`)
					case !strings.Contains(q.Header.Get("Accept"), "json"):
						<-q.Context().Done()
					default:
						if polls.Add(1) > 1000 { // as above
							<-q.Context().Done()
						}
						answerJSON(w, 200, page)
					}
				}))
				r := start(t, c.ServeHTTP, nil)
				defer r.stop()
				time.Sleep(time.Minute)
				early := polls.Load()
				time.Sleep(25 * time.Minute)
				later := polls.Load() - early
				t.Logf("%d polls in 20 s, %d in the next 25 minutes", early, later)
				if early < 3 || early > 60 || later > 150 {
					t.Error("too many, or too few")
				}
			})
		})
	}
}

// most is the longest of many delays: about the bound.
func (b *backoff) most(err error) (d time.Duration) {
	for range 500 {
		d = max(d, b.next(err))
	}
	return d
}

// Only what stayed well for a minute ends an outage, and news from outside.
func TestOutage(t *testing.T) {
	failed := errors.New("failed")
	synctest.Test(t, func(t *testing.T) {
		var b backoff
		is := func(when string, want time.Duration) {
			t.Helper()
			if got := b.most(failed); got > want+time.Millisecond || got < want*9/10 {
				t.Errorf("%s: delays of up to %s, want %s", when, got, want)
			}
		}
		lasts := func(d time.Duration) {
			b.good()
			time.Sleep(d)
		}
		is("at first", backoffLeast)
		time.Sleep(40 * time.Second)
		is("40 s later", 10*time.Second)
		lasts(59 * time.Second)
		is("well for 59 s", 10*time.Second)
		time.Sleep(40 * time.Second)
		is("after 80 s of no use", 20*time.Second)
		time.Sleep(time.Hour)
		is("an hour later", backoffMost)
		lasts(time.Minute)
		is("well for a minute", backoffLeast)
		time.Sleep(time.Hour)
		if d := b.next(errAtOnce); d != 0 {
			t.Errorf("at once is %s", d)
		}
		is("after another way to follow", backoffMost)
		if d := b.next(errWanted); d != 0 {
			t.Errorf("wanted is %s", d)
		}
		is("after news from outside", backoffLeast)
	})
}

// Who was well for a minute is back at once: after a refusal, and over a first snapshot;
// what repeats waits, with all items there.
func TestOneOutageIsShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCloud()
		r := start(t, c.ServeHTTP, nil)
		defer r.stop()
		synctest.Wait()
		r.net.setRefuse(true)
		time.Sleep(time.Hour)
		r.net.setRefuse(false)
		time.Sleep(3 * time.Minute)
		level(t, r, c, "after an hour")
		for n := range 3 {
			r.net.setRefuse(true)
			synctest.Wait()
			r.net.setRefuse(false)
			time.Sleep(backoffLeast + time.Millisecond)
			c.put(itemOf("a", int64(n+1)))
			level(t, r, c, "0.5 s after an outage")
			time.Sleep(time.Minute)
		}
		restore := func(n int) { c.change(func() { c.epoch = fmt.Sprint("restored", n); c.log = nil }) }
		restore(0)
		c.put(itemOf("b", 1))
		level(t, r, c, "at once after a snapshot")
		restore(1)
		level(t, r, c, "at once by another one")
		feeds := r.count("/feed")
		time.Sleep(backoffLeast + time.Millisecond)
		if n := r.count("/feed") - feeds; n != 1 {
			t.Errorf("%d feeds after a second snapshot within a minute, want one, later", n)
		}
	})
}

// The way up has a back-off of its own: new connections do not end it, and do not wait
// for it where nothing failed.
func TestUselessUploads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCloud()
		feed := answers("/feed", c.says("$HEAD"))
		c.setSpoil(func(w http.ResponseWriter, q *http.Request) bool {
			if strings.HasSuffix(q.URL.Path, "/events") {
				answerJSON(w, 500, `{}`)
				return true
			}
			return strings.Contains(q.URL.RawQuery, "epoch=e1") && feed(w, q)
		})
		r := start(t, c.ServeHTTP, nil)
		defer r.stop()
		r.write(1)
		time.Sleep(12 * time.Second)
		in12 := r.count("/events")
		time.Sleep(time.Hour)
		was := r.count("/events")
		time.Sleep(time.Hour)
		n := r.count("/events") - was
		t.Logf("%d uploads in 12 s, %d in a later hour", in12, n)
		if in12 < 5 || in12 > 60 || n < 60 || n > 480 { // its own, and one for each connection
			t.Error("too many, or too few")
		}
		c.setSpoil(nil)
		time.Sleep(3 * time.Minute)
		if n := len(c.letters()); n != 1 {
			t.Errorf("%d letters came", n)
		}
		r.write(1)
		synctest.Wait()
		if n := len(c.letters()); n != 2 {
			t.Errorf("the second letter waits: %d came", n)
		}
		r.net.setRefuse(true)
		time.Sleep(20 * time.Second)
		r.net.setRefuse(false)
		poke(r.linkUp)
		r.write(1)
		synctest.Wait()
		if n := len(c.letters()); n != 3 {
			t.Errorf("the letter after a reconnect waits: %d came", n)
		}
		// What failed while the cloud was away goes with the new connection, too.
		r.net.setRefuse(true)
		r.write(1)
		time.Sleep(time.Hour)
		r.net.setRefuse(false)
		poke(r.linkUp)
		synctest.Wait()
		if n := len(c.letters()); n != 4 {
			t.Errorf("the letter that failed before a reconnect waits: %d came", n)
		}
		// After a good while a failure is the first one again.
		time.Sleep(5 * time.Minute)
		c.setSpoil(answers("/events", func(w http.ResponseWriter, _ *http.Request) {
			c.setSpoil(nil)
			answerJSON(w, 500, `{}`)
		}))
		r.write(1)
		time.Sleep(backoffLeast + time.Millisecond)
		synctest.Wait()
		if n := len(c.letters()); n != 5 {
			t.Errorf("0.5 s after a first failure %d letters came", n)
		}
	})
}

// A way up that the cloud has closed for a time stays closed, whatever connects.
func TestUploadsWhenTheCloudSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCloud()
		c.setSpoil(answers("/events", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "600")
			answerJSON(w, 503, `{}`)
		}))
		r := start(t, c.ServeHTTP, nil)
		defer r.stop()
		r.write(1)
		for range 9 {
			time.Sleep(65 * time.Second)
			r.write(1)
			r.uplink.Again()
		}
		if n := r.count("/events"); n != 1 {
			t.Errorf("%d uploads in ten minutes, of which the cloud wanted none", n)
		}
		c.setSpoil(nil)
		time.Sleep(20 * time.Second)
		if n := len(c.letters()); n != 10 {
			t.Errorf("%d letters came after ten minutes", n)
		}
	})
}

func TestRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(http.TimeFormat) }
		for text, want := range map[string]time.Duration{
			"0": 0, "1": time.Second, "90": 90 * time.Second, "3599": 3599 * time.Second, "3600": time.Hour, "3601": time.Hour,
			"1000000000000000000": time.Hour, "9223372036854775807": time.Hour, "9223372036854775808": time.Hour, "18446744074": time.Hour,
			"1e18": time.Hour, strings.Repeat("9", 400): time.Hour,
			"-1": 0, "-9223372036854775808": 0, "-" + strings.Repeat("9", 400): 0, "NaN": 0, "": 0, "soon": 0, "1 hour": 0, "5s": 0,
			at(20 * time.Second): 20 * time.Second, at(time.Hour): time.Hour, at(26 * 365 * 24 * time.Hour): time.Hour,
			at(-time.Second): 0, "Fri, 31 Dec 9999 23:59:59 GMT": time.Hour, "Mon, 01 Jan 0001 00:00:00 GMT": 0,
		} {
			if got := retryAfter(http.Header{"Retry-After": {text}}); got != want {
				t.Errorf("%s: %s, want %s", text, got, want)
			}
		}
		// A date is held against the clock that wrote it.
		theirs := 26 * 365 * 24 * time.Hour
		if got := retryAfter(http.Header{"Retry-After": {at(theirs + time.Minute)}, "Date": {at(theirs)}}); got != time.Minute {
			t.Errorf("a minute by a clock of another year is %s", got)
		}
	})
}

// What a cloud asks for is honoured up to an hour, goaway's up to two minutes.
func TestAbsurdDelays(t *testing.T) {
	for _, c := range []struct {
		name  string
		want  time.Duration
		spoil func(c *fakeCloud) http.HandlerFunc
	}{
		{"Retry-After", time.Hour, func(*fakeCloud) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", "1000000000000000000")
				answerJSON(w, 503, `{}`)
			}
		}},
		{"goaway", 2 * time.Minute, func(c *fakeCloud) http.HandlerFunc {
			return c.says("event: goaway\ndata: {\"retry_ms\":10000000000000}\n\n")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFakeCloud()
				f.setSpoil(answers("/feed", c.spoil(f)))
				r := start(t, f.ServeHTTP, nil)
				defer r.stop()
				time.Sleep(c.want - time.Second)
				if n := r.count("/feed"); n != 1 {
					t.Errorf("%d feeds before the time", n)
				}
				time.Sleep(2 * time.Second)
				if n := r.count("/feed"); n != 2 {
					t.Errorf("%d feeds after the time", n)
				}
			})
		})
	}
}

// Numbers that no log has move no cursor past what went up.
func TestAbsurdAcks(t *testing.T) {
	for _, a := range []struct {
		upload int32 // 1 asks how far the cloud has come
		text   string
	}{
		{1, fmt.Sprintf(`{"ack":%d}`, math.MinInt64)}, {1, fmt.Sprintf(`{"expect":%d}`, math.MinInt64)},
		{1, fmt.Sprintf(`{"resend_from":%d}`, math.MinInt64)}, {1, `{"ack":1e30}`},
		{3, fmt.Sprintf(`{"ack":%d}`, math.MaxInt64)}, {3, fmt.Sprintf(`{"expect":%d}`, math.MaxInt64)},
		{3, fmt.Sprintf(`{"resend_from":%d}`, math.MinInt64)},
	} {
		t.Run(fmt.Sprint(a.upload, a.text), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newFakeCloud()
				var uploads atomic.Int32
				c.setSpoil(func(w http.ResponseWriter, q *http.Request) bool {
					if !strings.HasSuffix(q.URL.Path, "/events") || uploads.Add(1) != a.upload {
						return false
					}
					c.events(discard{}, q)
					answerJSON(w, 200, a.text)
					return true
				})
				r := start(t, c.ServeHTTP, nil)
				defer r.stop()
				r.write(3 * gateway.MaxLetters)
				time.Sleep(time.Minute)
				if n := len(c.letters()); n != 3*gateway.MaxLetters || uploads.Load() < 4 {
					t.Errorf("%d letters came in %d uploads", n, uploads.Load())
				}
			})
		})
	}
}
