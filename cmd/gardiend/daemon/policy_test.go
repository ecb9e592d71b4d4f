package daemon

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"gardien/configs"
	"gardien/gateway/api"
)

// policyText is an issuer's policy as the API tells it.
func policyText(t *testing.T, i configs.Issuer) map[string]any {
	t.Helper()
	text, err := json.Marshal(api.PolicyOf(i.Policy()))
	check(t, err)
	var members map[string]any
	check(t, json.Unmarshal(text, &members))
	return members
}

// Every key of a policy is told as data, under its name: what is not shown is not known to whoever trusts the
// issuer, and to no page.
func TestEveryPolicyKeyShows(t *testing.T) {
	var keys []string
	of := reflect.TypeFor[configs.Issuer]()
	for i := range of.NumField() {
		f := of.Field(i)
		key := f.Tag.Get("key")
		if slices.Contains([]string{"-", "id", "name", "keys"}, key) { // told beside
			continue
		}
		keys = append(keys, key)
		var bare, with configs.Issuer
		if strings.HasPrefix(key, "approval_") { // it says something where residents are asked
			for _, p := range []*configs.Issuer{&bare, &with} {
				reflect.ValueOf(p).Elem().FieldByName("Approval").SetString("ask")
			}
		}
		v := reflect.ValueOf(&with).Elem().Field(i)
		switch v.Kind() {
		case reflect.Bool:
			v.SetBool(true)
		case reflect.Int, reflect.Int64:
			v.SetInt(int64(time.Hour))
		case reflect.Slice:
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		case reflect.String: // the last of what it may be is not its default
			v.SetString(f.Tag.Get("oneof")[strings.LastIndex(f.Tag.Get("oneof"), " ")+1:])
		default:
			t.Fatalf("%s: a kind that this test does not know: %s", key, v.Kind())
		}
		if a, b := policyText(t, bare), policyText(t, with); reflect.DeepEqual(a[key], b[key]) {
			t.Errorf("%s does not show: %v", key, b)
		}
	}
	for key := range policyText(t, configs.Issuer{}) {
		if !slices.Contains(append(keys, "approval", "approval_silence"), key) {
			t.Errorf("%s is told, and no key of the configuration", key)
		}
	}
}
