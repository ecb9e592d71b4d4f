package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestCarriersPage runs the worked example of configs/carriers.md, as it stands.
func TestCarriersPage(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../configs/carriers.md")
	if err != nil {
		t.Fatal(err)
	}
	var steps []string
	for _, m := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(page), -1) {
		steps = append(steps, strings.TrimSpace(m[1]))
	}
	if len(steps) != 6 {
		t.Fatalf("%d steps: %q", len(steps), steps)
	}
	script := "exec " + steps[0] + `
config carrier.in carrier.yaml
cloud start
start carrier.yaml
exec gardien status --json
json GW id
exec gardien-cloud code gateway $GW --db mail.db --json
json CODE code
exec gardien enrol $CODE
event cloud_connected
exec gardien-cloud code issuer colis-x.example --db mail.db --json
json CODE code
exec ` + steps[1] + `
exec ` + steps[2] + `
stdout 'doors \[front\]'
exec ` + steps[3] + `
stdout '"id":"colis-x.example/parcel-4711"'
json PIN pin
event grant_added
exec gardien sim keys pad $PIN'#'
event access_granted
exec gardien sim contact front open
exec gardien sim contact front close
event strike_secured
exec ` + steps[4] + `
event grant_revoked
exec ` + steps[5] + `
stdout '"type":"access_taken"'
stdout '"sub":"parcel-4711"'
signal TERM
cloud stop
-- carrier.in --
gateway: {name: Maison, time_zone: Europe/Paris, state_dir: state}
api: {listen: "", socket: api.sock}
clock: {source: system}
doors: [{id: front, strike: {driver: sim}, contact: {driver: sim}, release_time: 3s}]
readers: [{id: pad, door: front, driver: sim}]
issuers: [{id: colis-x.example, keys: keys/jwks.json, doors: [front]}]
cloud: {url: "$CLOUD"}
`
	file := filepath.Join(t.TempDir(), "carriers.txtar")
	if err := os.WriteFile(file, []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	p := storyParams(t)
	p.Dir, p.Files = "", []string{file}
	testscript.Run(t, p)
}
