package main

import (
	"reflect"
	"slices"
	"testing"

	"gardien/gateway"
	"gardien/gateway/api"
)

// Every key of a policy shows in "issuer list": what is not shown is not known to whoever trusts the
// issuer. The doors are shown beside.
func TestEveryPolicyKeyHasALine(t *testing.T) {
	bare := api.PolicyOf(gateway.Policy{})
	approve, some := "approve", "72h"
	one := 1
	for f := range reflect.TypeFor[api.IssuerPolicy]().Fields() {
		p := bare
		v := reflect.ValueOf(&p).Elem().FieldByIndex(f.Index)
		switch key := f.Tag.Get("json"); {
		case key == "doors":
			continue
		case key == "approval":
			v.SetString("ask")
		case key == "approval_silence":
			p.Approval = "ask"
			v.Set(reflect.ValueOf(&approve))
		case v.Kind() == reflect.Bool:
			v.SetBool(true)
		case v.Kind() == reflect.Slice:
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		case v.Type() == reflect.TypeFor[*string]():
			v.Set(reflect.ValueOf(&some))
		case v.Type() == reflect.TypeFor[*int]():
			v.Set(reflect.ValueOf(&one))
		default:
			t.Fatalf("%s: a type that this test does not know: %s", key, v.Type())
		}
		without := bare
		without.Approval = p.Approval
		if f.Name == "Approval" {
			without.Approval = "off"
		}
		if slices.Equal(policyLines(p), policyLines(without)) {
			t.Errorf("%s does not show: %q", f.Tag.Get("json"), policyLines(p))
		}
	}
}
