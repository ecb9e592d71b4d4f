package web

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func read(text string) (list []string, err error) {
	err = ReadEvents(strings.NewReader(text), func(e Event) error {
		list = append(list, e.Name+"="+string(e.Data))
		return nil
	})
	return list, err
}

func TestReadEvents(t *testing.T) {
	for text, want := range map[string][]string{
		"":                               nil,
		"data: a\n\n":                    {"message=a"},
		"event: x\ndata: a\ndata: b\n\n": {"x=a\nb"},
		"id: 4\r\nevent: x\r\ndata: a\r\n\r\ndata:b\r\n\r\n": {"x=a", "message=b"},
		": comment\n\nevent: x\n\n":                          nil, // no data, no event
		"event: x\rdata: a\r\r":                              {"x=a"},
		"data:  a\n\n":                                       {"message= a"},
		"data\n\n":                                           {"message="},
		"nosuch: x\ndata: a\n\n":                             {"message=a"},
		"data: a\n\ndata: unfinished":                        {"message=a"},
		"data: a\n\ndata: unfinished\n":                      {"message=a"},
		"event: x\n\ndata: a\n\n":                            {"message=a"},
		"\ufeffdata: a\n\n":                                  {"message=a"}, // a byte order mark
		"\ufeff\ufeffdata: a\n\ndata: b\n\n":                 {"message=b"},
	} {
		got, err := read(text)
		if d := cmp.Diff(want, got); d != "" || !errors.Is(err, ErrStreamEnded) {
			t.Errorf("%q: %s (%v)", text, d, err)
		}
	}
	for _, text := range []string{strings.Repeat("x", maxEvent+10), "data: " + strings.Repeat("x", maxEvent) + "\n\n",
		strings.Repeat("data: "+strings.Repeat("x", 1000)+"\n", 100)} {
		if _, err := read(text); err == nil || errors.Is(err, ErrStreamEnded) {
			t.Errorf("an event of %d bytes: %v", len(text), err)
		}
	}
}

// An event counts when it is whole, also where lines end with CR: it does not wait for what comes
// after it. And whoever sends byte by byte makes nobody read a byte twice.
func TestReadEventsAtOnce(t *testing.T) {
	r, w := io.Pipe()
	got := make(chan string)
	go ReadEvents(r, func(e Event) error { got <- string(e.Data); return nil })
	for _, end := range []string{"\n\n", "\r\r", "\r\n\r\n", "\r\r\n"} {
		go io.WriteString(w, "data: a"+end)
		if data := <-got; data != "a" {
			t.Errorf("%q: %q", end, data)
		}
	}
	w.Close()

	line := "data: " + strings.Repeat("x", maxEvent-100) + "\n\n"
	counted := &slowReader{text: line}
	if err := ReadEvents(counted, func(e Event) error {
		if len(e.Data) != maxEvent-100 {
			t.Errorf("%d bytes", len(e.Data))
		}
		return nil
	}); !errors.Is(err, ErrStreamEnded) {
		t.Error(err)
	}
}

// slowReader gives one byte at a time.
type slowReader struct{ text string }

func (s *slowReader) Read(b []byte) (int, error) {
	if s.text == "" {
		return 0, io.EOF
	}
	b[0], s.text = s.text[0], s.text[1:]
	return 1, nil
}

// N5: whatever comes, events are what a naive reading of the whole text gives.
func FuzzReadEvents(f *testing.F) {
	for _, s := range []string{"event: item\ndata: {}\n\n", "data: a\r\n\r\n", ":x\n\n", "data\r\rdata:b\r\r"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > maxEvent/2 {
			return
		}
		got, _ := read(text)
		if d := cmp.Diff(naive(text), got); d != "" {
			t.Errorf("%q: %s", text, d)
		}
	})
}

func naive(text string) (list []string) {
	text = strings.TrimPrefix(text, "\ufeff")
	text = strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\r", "\n")
	lines := strings.Split(text, "\n")
	lines = lines[:len(lines)-1]
	name, data := "", []string(nil)
	for _, l := range lines {
		field, value, _ := strings.Cut(l, ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case l == "":
			if data != nil {
				if name == "" {
					name = "message"
				}
				list = append(list, fmt.Sprintf("%s=%s", name, strings.Join(data, "\n")))
			}
			name, data = "", nil
		case field == "event":
			name = value
		case field == "data":
			data = append(data, value)
		}
	}
	return list
}
