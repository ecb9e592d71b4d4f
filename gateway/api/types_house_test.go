package api_test

import (
	"encoding/json"
	"testing"
	"time"

	"gardien/gateway"
	"gardien/gateway/api"
)

// A policy is told under the names and in the words of the configuration: no limit is null, not zero.
func TestPolicyOf(t *testing.T) {
	for want, p := range map[string]gateway.Policy{
		`{"doors":[],"hours":[],"one_time_only":false,"max_validity":null,"per_day":null,"offline_limit":null,"bearer":false,"remote_unlock":false,"knock":null,"approval":"off","approval_silence":null,"allow_static_credentials":false}`: {},
		`{"doors":["front"],"hours":[{"days":["mon"],"from":"08:00","to":"20:00"}],"one_time_only":true,"max_validity":"8760h","per_day":5,"offline_limit":"1h30m","bearer":true,"remote_unlock":true,"knock":"1m30s","approval":"ask","approval_silence":"approve","allow_static_credentials":true}`: {
			Doors: []gateway.DoorID{"front"}, Hours: weekday(t, "mon", "08:00-20:00"), OneTimeOnly: true, MaxValidity: 8760 * time.Hour, PerDay: 5, OfflineLimit: 90 * time.Minute,
			Bearer: true, RemoteUnlock: true, Knock: 90 * time.Second, Approval: gateway.SilenceOpens, StaticCredentials: true},
	} {
		got, err := json.Marshal(api.PolicyOf(p))
		if err != nil || string(got) != want {
			t.Errorf("%s, %v\nwant %s", got, err, want)
		}
	}
	for d, want := range map[time.Duration]string{30 * time.Second: "30s", 10 * time.Minute: "10m", 20 * time.Hour: "20h", time.Hour + 30*time.Second: "1h0m30s"} {
		if got := api.PolicyOf(gateway.Policy{Knock: d}).Knock; *got != want {
			t.Errorf("%s, want %s", *got, want)
		}
	}
}

func weekday(t *testing.T, days, hours string) []gateway.Window {
	t.Helper()
	s, err := gateway.ParseHours(days, hours)
	if err != nil {
		t.Fatal(err)
	}
	return s.Windows
}
