package daemon

import (
	"reflect"
	"strings"
	"testing"

	"gardien/configs"
)

// Every key of a policy shows in "issuer list": what is not shown is not known to whoever
// trusts the issuer.
func TestEveryPolicyKeyShows(t *testing.T) {
	shown := len(policyLines(configs.Issuer{}))
	of := reflect.TypeFor[configs.Issuer]()
	for i := range of.NumField() {
		key := of.Field(i).Tag.Get("key")
		switch key {
		case "-", "id", "name", "keys", "doors": // shown beside
			continue
		}
		var issuer configs.Issuer
		v := reflect.ValueOf(&issuer).Elem().Field(i)
		switch v.Kind() {
		case reflect.Bool:
			v.SetBool(true)
		case reflect.Int, reflect.Int64:
			v.SetInt(int64(60_000_000_000))
		case reflect.Slice:
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		default:
			t.Fatalf("%s: a kind that this test does not know: %s", key, v.Kind())
		}
		if lines := policyLines(issuer); len(lines) != shown+1 {
			t.Errorf("%s does not show: %s", key, strings.Join(lines, "; "))
		}
	}
}
