package api_test

import (
	"net/http"
	"testing"
)

// TestReceiptIsForWhoeverMay: a resident gets it as a resident, anybody else with a proof alone. What
// is wrong with it nobody learns: all 404 are one, and so are all 401 (I1).
func TestReceiptIsForWhoeverMay(t *testing.T) {
	s := serve(t)
	const there, other = "/v1/attempts/a1/receipt", "/v1/attempts/a2/receipt"
	seen := map[int]string{}
	for _, tt := range []struct {
		path   string
		proofs []string // the header, if it is there
		status int
	}{
		{"resident:" + there, nil, 200},
		{"resident:" + other, nil, 404},
		{"resident:/v1/attempts/broken/receipt", nil, 500},
		{there, nil, 200}, // the socket
		{other, nil, 404},
		{"stranger:" + there, nil, 401},
		{"stranger:" + other, nil, 401},
		{"guest:" + there, nil, 403},
		{"installer:" + there, nil, 403},
		{"newcomer:" + there, nil, 403},

		{"stranger:" + there, []string{"proof"}, 200},
		{"guest:" + there, []string{"proof"}, 200},
		{"stranger:" + other, []string{"proof"}, 404},
		{"stranger:" + there, []string{"guess"}, 404},
		{"stranger:" + there, []string{""}, 404},
		{"resident:" + there, []string{"guess"}, 404}, // judged by the proof alone
		{there, []string{"guess"}, 404},
	} {
		var headers []string
		for _, p := range tt.proofs {
			headers = append(headers, "Gardien-Proof", p)
		}
		status, answer, _ := s.call(t, "GET", tt.path, "", headers...)
		if status != tt.status {
			t.Errorf("%s with %q: %d %s, want %d", tt.path, tt.proofs, status, answer, tt.status)
		}
		if before, ok := seen[status]; ok && before != answer && status != 403 {
			t.Errorf("%s with %q tells more: %s, and before %s", tt.path, tt.proofs, answer, before)
		}
		seen[status] = answer
	}
	twice, err := http.NewRequestWithContext(t.Context(), "GET", s.base+there, nil)
	if err != nil {
		t.Fatal(err)
	}
	twice.Header["Gardien-Proof"] = []string{"proof", "proof"}
	if res, err := s.remote.Do(twice); err != nil || res.StatusCode != 404 {
		t.Errorf("two proofs: %v, %v", res, err)
	} else {
		res.Body.Close()
	}
	// The header is a credential where it is asked for, and nowhere else.
	if status, answer, _ := s.call(t, "POST", "stranger:/v1/doors/front/attempts", "{}", "Gardien-Proof", "proof"); status != 401 {
		t.Errorf("a stranger's wish with a proof: %d %s", status, answer)
	}
}
