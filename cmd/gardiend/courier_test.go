package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"gardien/gateway/api"
	"gardien/gateway/api/phone"
	"gardien/gateway/tokens"
)

// courierMain is the phone of a courier or an employee in the stories: it is not paired, and has a key.
//
//	courier key NAME                 makes its key, writes the public one to NAME.jwk, and prints its thumbprint as JSON
//	courier present NAME DOOR FILE   presents the grant of a file with a proof, and prints status and body
//	courier outcome NAME ID [WAIT]   asks what came of an attempt
//	courier receipt NAME DOOR ID     asks for the receipt of an attempt at a door, with a proof
func courierMain() {
	err := errors.New("usage: courier key|present|outcome|receipt")
	switch args := append(os.Args[1:], "", "", ""); {
	case args[0] == "key":
		err = courierKey(args[1])
	case args[0] == "present":
		err = courierPresents(args[1], args[2], args[3])
	case args[0] == "receipt":
		err = courierReceipt(args[1], args[2], args[3])
	case args[0] == "outcome":
		err = courierAsks(args[1], args[2], args[3])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "courier:", err)
		os.Exit(1)
	}
}

func courierKey(name string) error {
	key, err := tokens.GenerateES256()
	if err != nil {
		return err
	}
	jwk, err := key.JWK()
	if err != nil {
		return err
	}
	private, err := key.Marshal()
	if err == nil {
		err = errors.Join(os.WriteFile(name+".jwk", jwk, 0o600), os.WriteFile("courier-"+name, private, 0o600))
	}
	fmt.Printf("{\"jkt\":%q}\n", key.KeyID())
	return err
}

// courierPhone finds the gateway as an app does that has its fingerprint from the carrier.
func courierPhone(name string) (*phone.Phone, error) {
	out, err := exec.Command("gardien", "status", "--json").Output()
	if err != nil {
		return nil, err
	}
	var s api.Status
	if err := json.Unmarshal(out, &s); err != nil {
		return nil, err
	}
	private, err := os.ReadFile("courier-" + name)
	if err != nil {
		return nil, err
	}
	_, port, _ := strings.Cut(s.API.Address, ":")
	p := &phone.Phone{Base: "https://" + s.API.Name + ":" + port, HTTP: phone.Pinning(s.API.Fingerprint, s.API.Address)}
	p.Key, err = tokens.ParseSigningKey(private)
	return p, err
}

func courierPresents(name, door, file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	p, err := courierPhone(name)
	if err != nil {
		return err
	}
	a, err := p.Present(context.Background(), door, strings.TrimSpace(string(text)), time.Now())
	if err == nil {
		fmt.Println(a.Status, strings.TrimSpace(a.Body))
	}
	return err
}

func courierAsks(name, id, wait string) error {
	p, err := courierPhone(name)
	if err != nil {
		return err
	}
	a, err := p.Do(context.Background(), "GET", "/v1/attempts/"+id+"?wait="+wait, "")
	if err == nil {
		fmt.Println(a.Status, strings.TrimSpace(a.Body))
	}
	return err
}

func courierReceipt(name, door, id string) error {
	p, err := courierPhone(name)
	if err != nil {
		return err
	}
	a, err := p.Receipt(context.Background(), door, id, time.Now())
	if err == nil {
		fmt.Println(a.Status, strings.TrimSpace(a.Body))
	}
	return err
}
