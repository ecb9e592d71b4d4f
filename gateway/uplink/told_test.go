package uplink

import (
	"encoding/json"
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

// TestR1_HeadsGoUpAndComeBack: the cloud gets the gateway's word on its record with letters, and
// within a minute without; and what it has is asked for before anything goes up.
func TestR1_HeadsGoUpAndComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCloud()
		var mu sync.Mutex
		var heads []string
		c.setSpoil(func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, "/events") {
				return false
			}
			var up gateway.Upload
			b, err := io.ReadAll(r.Body)
			if err != nil || json.Unmarshal(b, &up) != nil {
				t.Errorf("%s: %v", b, err)
			}
			mu.Lock()
			defer mu.Unlock()
			heads = append(heads, up.Head)
			last := int64(0)
			for _, l := range up.Letters {
				last = l.Seq
			}
			answer := map[string]any{"ack": last, "head": "what was told before"}
			text, _ := json.Marshal(answer)
			answerJSON(w, http.StatusOK, string(text))
			return true
		})
		r := start(t, c.ServeHTTP, nil)
		defer r.stop()
		time.Sleep(time.Second)
		synctest.Wait()
		r.memory.mu.Lock()
		told := slices.Clone(r.memory.told)
		r.memory.mu.Unlock()
		if !slices.Equal(told, []string{"what was told before"}) {
			t.Errorf("told %q", told)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		mu.Lock()
		got := slices.Clone(heads)
		mu.Unlock()
		if !slices.Equal(got, []string{"", "head 0"}) { // asked first, told once
			t.Errorf("heads %q", got)
		}
		r.write(1)
		time.Sleep(time.Second)
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if len(heads) != 3 || heads[2] != "head 1" {
			t.Errorf("heads %q", heads)
		}
	})
}
