package api

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"net/http"
	"strings"

	"gardien/gateway/web"
)

//go:embed front.html
var frontText string

var frontPage = template.Must(template.New("front").Parse(frontText))

// front is the one static page for people who come without a device that has paired. On port 80 it
// explains the browser's warning and leads on, and never links a certificate: somebody on the
// network could put another's there. Over HTTPS it says how to trust the house CA.
type front struct {
	name  string // "gardien-62fg.local"
	url   string // of the HTTPS side
	plain bool
}

func (f front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		web.WriteProblem(w, Fail(http.StatusMethodNotAllowed, "method-not-allowed", "this is a page"), nil)
		return
	}
	short := strings.TrimPrefix(strings.TrimSuffix(f.name, ".local"), "gardien-")
	var page bytes.Buffer
	err := frontPage.Execute(&page, struct {
		Short, Name, URL string
		Plain            bool
	}{short, f.name, f.url, f.plain})
	if err != nil {
		panic(err) // the page is ours
	}
	w.Header().Set("Content-Security-Policy", frontPolicy)
	w.Header().Set("Referrer-Policy", "no-referrer")
	web.Send(w, http.StatusOK, "text/html; charset=utf-8", page.Bytes())
}

// frontPolicy lets the page's own style in, and nothing else (W4).
var frontPolicy = func() string {
	_, style, _ := strings.Cut(frontText, "<style>")
	style, _, _ = strings.Cut(style, "</style>")
	sum := sha256.Sum256([]byte(style))
	return "default-src 'none'; img-src data:; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}()
