package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"gardien/gateway/api"
	"gardien/gateway/api/phone"
	"gardien/gateway/tokens"
)

// phoneMain is a phone in the stories:
//
//	phone pair NAME y|n|json [ROLE]      scans what "gardien pair" shows, pairs, and has the terminal answer; json: confirms apart
//	phone move NAME CODE                 takes over another phone's access with a code
//	phone do NAME METHOD PATH [BODY]     sends a request with its token, signed, and prints status and body
//	phone stream NAME TYPE               reads the event stream until an event of the type
//
// PHONE_AT dials an address in place of the name's; PHONE_CA trusts that certificate (PEM or DER) in place
// of the scanned fingerprint.
func phoneMain() {
	err := errors.New("usage: phone pair|move|do|stream")
	if args := os.Args[1:]; len(args) > 2 {
		switch args[0] {
		case "pair":
			err = phonePairs(args[1], args[2], append(args, "")[3])
		case "move":
			err = phoneMoves(args[1], args[2])
		case "do":
			err = phoneDoes(args[1], args[2], args[3], append(args, "")[4])
		case "stream":
			err = phoneFollows(args[1], args[2])
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "phone:", err)
		os.Exit(1)
	}
}

// pocket is what a phone keeps.
type pocket struct{ Base, Fingerprint, Token, Key, Address string }

func (k pocket) phone() (*phone.Phone, error) {
	p := &phone.Phone{Base: k.Base, Token: k.Token, HTTP: phone.Pinning(k.Fingerprint, k.Address)}
	if ca := os.Getenv("PHONE_CA"); ca != "" {
		der, err := os.ReadFile(ca)
		if err != nil {
			return nil, err
		}
		if p.HTTP, err = phone.Trusting(der, k.Address); err != nil {
			return nil, err
		}
	}
	var err error
	p.Key, err = tokens.ParseSigningKey([]byte(k.Key))
	return p, err
}

func (k pocket) keep(name string) error {
	b, err := json.Marshal(k)
	if err != nil {
		return err
	}
	return os.WriteFile("phone-"+name, b, 0o600)
}

func pocketOf(name string) (k pocket, err error) {
	b, err := os.ReadFile("phone-" + name)
	if err == nil {
		err = json.Unmarshal(b, &k)
	}
	return k, err
}

var scanned = regexp.MustCompile(`(https://[^/ ]+)/#pair=([A-Za-z0-9_-]+)(?:&|\\u0026)fp=([0-9a-f]{64})`)

func phonePairs(name, answer, role string) error {
	args := []string{"pair"}
	if answer == "json" {
		args = append(args, "--json")
	}
	if role != "" {
		args = append(args, "--role", role)
	}
	tool := exec.Command("gardien", args...)
	in, err := tool.StdinPipe()
	if err != nil {
		return err
	}
	pipe, err := tool.StdoutPipe()
	if err != nil {
		return err
	}
	tool.Stderr = os.Stderr
	if err := tool.Start(); err != nil {
		return err
	}
	defer tool.Process.Kill()
	var shown bytes.Buffer
	out := bufio.NewReader(io.TeeReader(pipe, &shown))
	var code []string
	for code == nil {
		line, err := out.ReadString('\n')
		code = scanned.FindStringSubmatch(line)
		if err != nil && code == nil {
			return fmt.Errorf("gardien pair shows nothing to scan: %w: %s", err, shown.String())
		}
	}
	if answer != "json" && !strings.Contains(shown.String(), "▀") {
		return errors.New("gardien pair draws no QR code")
	}
	u, err := url.Parse(code[1])
	if err != nil {
		return err
	}
	k := pocket{Base: code[1], Fingerprint: code[3], Address: "127.0.0.1:" + u.Port()}
	if at := os.Getenv("PHONE_AT"); at != "" {
		k.Address = at
	}
	paired, err := pairAs(&k, name, code[2])
	if err != nil {
		return err
	}
	// What the terminal shows is the same code.
	want := paired.Code[:3] + " " + paired.Code[3:]
	if answer == "json" {
		want = fmt.Sprintf(`{"id":%q,"name":%q,"code":%q}`, paired.ID, name, paired.Code)
	}
	deadline := time.AfterFunc(20*time.Second, func() { tool.Process.Kill() })
	defer deadline.Stop()
	for seen := ""; !strings.Contains(seen, want); {
		c, err := out.ReadByte()
		if err != nil {
			return fmt.Errorf("the terminal does not show %q: %s", want, shown.String())
		}
		seen += string(c)
	}
	if answer != "json" {
		fmt.Fprintln(in, answer)
	}
	go io.Copy(io.Discard, out)
	if err := tool.Wait(); (err != nil) != (answer == "n") {
		return fmt.Errorf("gardien pair ended with %v: %s", err, shown.String())
	}
	if err := k.keep(name); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]string{"id": string(paired.ID), "code": paired.Code})
}

// pairAs pairs with a new key, and keeps token and key.
func pairAs(k *pocket, name, secret string) (api.Paired, error) {
	key, err := tokens.GenerateES256()
	if err != nil {
		return api.Paired{}, err
	}
	private, err := key.Marshal()
	if err != nil {
		return api.Paired{}, err
	}
	k.Key = string(private)
	p, err := k.phone()
	if err != nil {
		return api.Paired{}, err
	}
	paired, err := p.Pair(context.Background(), secret, name)
	k.Token = p.Token
	return paired, err
}

func phoneMoves(name, code string) error {
	k, err := pocketOf(name)
	if err != nil {
		return err
	}
	if _, err := pairAs(&k, name, code); err != nil {
		return err
	}
	return k.keep(name + "-icon")
}

func phoneDoes(name, method, path, body string) error {
	k, err := pocketOf(name)
	if err != nil {
		return err
	}
	p, err := k.phone()
	if err != nil {
		return err
	}
	a, err := p.Do(context.Background(), method, path, body)
	if err == nil {
		fmt.Println(a.Status, strings.TrimSpace(a.Body))
	}
	return err
}

func phoneFollows(name, event string) error {
	k, err := pocketOf(name)
	if err != nil {
		return err
	}
	p, err := k.phone()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	res, err := p.Stream(ctx, 0)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		if strings.Contains(lines.Text(), `"type":"`+event+`"`) {
			fmt.Println(http.StatusText(res.StatusCode), lines.Text())
			return nil
		}
	}
	return fmt.Errorf("the stream ended without %s: %w", event, lines.Err())
}

// pairer is a phone that pairs by the local socket, and somebody who confirms it there: pairer
// [SECRET]. Without a secret it opens a window itself.
func pairer() {
	ctx, client := context.Background(), api.NewClient(os.Getenv("GARDIEN_SOCKET"))
	var w api.PairingWindow
	var err error
	if len(os.Args) > 1 {
		w.Secret = os.Args[1]
	} else {
		err = client.Do(ctx, "POST", "/v1/pairing/window", struct{}{}, &w)
	}
	var paired json.RawMessage
	var p api.Paired
	if err == nil {
		err = client.Do(ctx, "POST", "/v1/pairing", api.PairingRequest{Secret: w.Secret, Name: "Ada"}, &paired)
	}
	if err == nil {
		err = json.Unmarshal(paired, &p)
	}
	if err == nil {
		err = client.Do(ctx, "POST", "/v1/residents/"+string(p.ID)+"/confirm", nil, &api.Done{})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Stdout.Write(paired)
}
