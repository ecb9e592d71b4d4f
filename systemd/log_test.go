package systemd

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// stuck is a reader who does not read until it is let go.
type stuck struct {
	goOn chan struct{}
	got  strings.Builder
}

func (s *stuck) Write(b []byte) (int, error) {
	<-s.goOn
	return s.got.Write(b)
}

// A11: a log that nobody reads holds nobody up, keeps the newest lines, and says how many it
// dropped.
func TestA11_LogNeverBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &stuck{goOn: make(chan struct{})}
		l := NewLog(w)
		fmt.Fprintln(l, "the first")
		synctest.Wait() // it is being written
		start := time.Now()
		const n = 20_000
		for i := range n {
			fmt.Fprintf(l, "line %d of very many that nobody reads\n", i)
		}
		l.Close(time.Second)
		if took := time.Since(start); took != time.Second {
			t.Errorf("writing and closing took %v", took)
		}
		close(w.goOn)
		<-l.idle
		lines := strings.Split(strings.TrimSuffix(w.got.String(), "\n"), "\n")
		var dropped int
		fmt.Sscanf(lines[1], "%d lines", &dropped)
		if lines[0] != "the first" || dropped == 0 || len(lines) != n-dropped+2 {
			t.Errorf("%d lines, %d dropped; the second is %q", len(lines), dropped, lines[1])
		}
		if want := fmt.Sprintf("line %d of", n-1); !strings.HasPrefix(lines[len(lines)-1], want) {
			t.Errorf("the last is %q", lines[len(lines)-1])
		}
		if w.got.Len() > logLimit+200 {
			t.Errorf("%d bytes waited", w.got.Len())
		}
	})
}

func TestLogWritesAll(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	l := NewLog(w)
	for i := range 100 {
		fmt.Fprintln(l, i)
	}
	l.Close(10 * time.Second)
	w.Close()
	var text strings.Builder
	buf := make([]byte, 4096)
	for {
		n, err := r.Read(buf)
		text.Write(buf[:n])
		if err != nil {
			break
		}
	}
	if n := strings.Count(text.String(), "\n"); n != 100 {
		t.Errorf("%d lines of 100", n)
	}
}
