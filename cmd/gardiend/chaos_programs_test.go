package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"gardien/gateway"
	"gardien/gateway/api"
	"gardien/gateway/tokens"
)

// buildAll builds the real programs, gardiend too: here nothing is moved from outside.
func buildAll(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	out, err := exec.Command("go", "build", "-o", dir+"/", "gardien/cmd/gardiend", "gardien/cmd/gardien-cloud", "gardien/cmd/gardien-issuer").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return dir
}

// program is a running process.
type program struct {
	cmd *exec.Cmd
	log *os.File
}

func (c *chaos) spawn(name, log string, args ...string) *program {
	c.t.Helper()
	f, err := os.OpenFile(filepath.Join(c.dir, log), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		c.t.Fatal(err)
	}
	p := &program{exec.Command(filepath.Join(c.bin, name), args...), f}
	p.cmd.Stdout, p.cmd.Stderr = f, f
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	return p
}

func (p *program) end(sig syscall.Signal) {
	if p == nil || p.cmd.ProcessState != nil {
		return
	}
	p.cmd.Process.Signal(sig)
	p.cmd.Wait()
	p.log.Close()
}

// node is one gateway process and what it has recorded.
type node struct {
	dir     string
	client  *api.Client
	program *program
	records map[string][]string // events of the issuer by log, in order
	gateway *tokens.Descriptor
	model   map[string]gateway.Item // newest acknowledged item by jti
}

// tool runs a program to its end and gives what it printed.
func (c *chaos) tool(name string, args ...string) string {
	c.t.Helper()
	cmd := exec.Command(filepath.Join(c.bin, name), args...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		c.t.Fatalf("%s %v: %v\n%s", name, args, err, errs.String())
	}
	return strings.TrimSpace(string(out))
}

func (c *chaos) startCloud() {
	c.t.Helper()
	c.cloud = c.spawn("gardien-cloud", "cloud.log", "serve", "--db", c.dsn, "--listen", c.addr, "--cert", c.path("ca.pem"), "--key", c.path("key.pem"),
		"--origin", "https://"+c.wire.Addr()+",https://"+c.addr)
	config := &tls.Config{InsecureSkipVerify: true}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
	c.until("the cloud answers", 30*time.Second, func() bool {
		res, err := client.Get("https://" + c.addr + "/healthz")
		if err != nil {
			return false
		}
		res.Body.Close()
		return res.StatusCode == 200
	})
}

func (c *chaos) startNode(n *node) {
	c.t.Helper()
	n.program = c.spawn("gardiend", filepath.Base(n.dir)+".log", "--config", filepath.Join(n.dir, "g.yaml"))
	c.until("gardiend answers", 30*time.Second, func() bool { return n.client.Do(context.Background(), "GET", "/v1/info", nil, nil) == nil })
}

// newNode makes a gateway's folder.
func (c *chaos) newNode(name string) *node {
	c.t.Helper()
	n := &node{dir: c.path(name), client: api.NewClient(filepath.Join(c.path(name), "s")), records: map[string][]string{}, model: map[string]gateway.Item{}}
	jwks, err := os.ReadFile(c.path("keys/jwks.json"))
	c.check(err)
	ca, err := os.ReadFile(c.path("ca.pem"))
	c.check(err)
	c.write(name+"/jwks.json", jwks)
	c.write(name+"/ca.pem", ca)
	c.write(name+"/g.yaml", fmt.Appendf(nil, chaosYAML, c.wire.Addr()))
	return n
}

func (n *node) get(path string, v any) error {
	return n.client.Do(context.Background(), "GET", path, nil, v)
}
