package web

import (
	"errors"
	"fmt"
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
