package certs

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// W6: the profile is well-formed, of the shape that Apple documents, and installs our CA alone.
func TestW6_MobileConfig(t *testing.T) {
	c := at(synced(moved))
	h := mustOpen(t, opts(t.TempDir(), c))
	text := h.MobileConfig()
	dec := xml.NewDecoder(bytes.NewReader(text))
	var open, data, uuids, types []string
	for key := ""; ; {
		tok, err := dec.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("%v in:\n%s", err, text)
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			open = append(open, tok.Name.Local)
		case xml.EndElement:
			open = open[:len(open)-1]
		case xml.CharData:
			s := strings.TrimSpace(string(tok))
			switch {
			case s == "":
			case open[len(open)-1] == "key":
				key = s
			case open[len(open)-1] == "data":
				data = append(data, s)
			case key == "PayloadUUID":
				uuids = append(uuids, s)
			case key == "PayloadType":
				types = append(types, s)
			}
		}
	}
	if want := []string{base64.StdEncoding.EncodeToString(h.CA())}; !slices.Equal(data, want) {
		t.Errorf("data is %v", data)
	}
	if !slices.Equal(types, []string{"Configuration", "com.apple.security.root"}) {
		t.Errorf("types %v", types)
	}
	form := regexp.MustCompile(`^[0-9A-F]{8}-[0-9A-F]{4}-8[0-9A-F]{3}-[89AB][0-9A-F]{3}-[0-9A-F]{12}$`)
	if len(uuids) != 2 || uuids[0] == uuids[1] || !form.MatchString(uuids[0]) || !form.MatchString(uuids[1]) {
		t.Errorf("UUIDs %v", uuids)
	}
	if bytes.Contains(text, []byte("PRIVATE")) {
		t.Error("a key is in it")
	}
	if other := mustOpen(t, opts(t.TempDir(), c)).MobileConfig(); bytes.Contains(other, []byte(uuids[0])) || bytes.Contains(other, []byte(uuids[1])) {
		t.Error("another house's profile has the same UUIDs")
	}
}

// Text is escaped, whatever it holds.
func TestPlistEscapes(t *testing.T) {
	var b bytes.Buffer
	plist(&b, "a<b>&\"c\"")
	if got := b.String(); strings.Contains(got, "<b>") || !strings.Contains(got, "a&lt;b&gt;&amp;") {
		t.Error(got)
	}
}
