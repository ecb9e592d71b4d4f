package api_test

import (
	"strings"
	"testing"
)

// Who waits for the residents is theirs to know: guests and installers see the doors alone (contract §5, "Sessions").
func TestWhoWaitsIsForResidents(t *testing.T) {
	s := serve(t)
	for who, told := range map[string]bool{"resident": true, "guest": false, "installer": false} {
		for _, path := range []string{"/v1/doors", "/v1/doors/front"} {
			status, answer, _ := s.call(t, "GET", who+":"+path, "")
			if status != 200 || strings.Contains(answer, "a1") != told || !told && !strings.Contains(answer, `"knock":null`) {
				t.Errorf("%s asks for %s: %d %s", who, path, status, answer)
			}
		}
	}
}

// A8: all outcomes that are denied have one length, whatever the code.
func TestA8_OutcomesLookAlike(t *testing.T) {
	s := serve(t)
	lengths := map[int]bool{}
	for _, id := range []string{"denied-not_allowed", "denied-try_later", "denied-not_now"} {
		_, answer, _ := s.call(t, "GET", "stranger:/v1/attempts/"+id, "")
		if lengths[len(answer)] = true; !strings.Contains(answer, strings.TrimPrefix(id, "denied-")) {
			t.Errorf("%s: %s", id, answer)
		}
	}
	if len(lengths) != 1 {
		t.Errorf("lengths %v", lengths)
	}
}
