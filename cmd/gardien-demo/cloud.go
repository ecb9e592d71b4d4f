package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"gardien/cmd/gardien-cloud/service"
	"gardien/cmd/gardien-issuer/carrier"
	"gardien/gateway"
	"gardien/gateway/api"
	"gardien/store/mailbox"
)

const carrierID gateway.IssuerID = "colis-x.example"

func (h *house) cloudURL() string { return "http://" + h.cable.Addr() }

// carrierLetters is the carrier's side of the cloud. Its own way to it is another cable.
type carrierLetters struct {
	*carrier.Carrier
	to     *carrier.Gateway
	after  int64
	grants map[string]bool // that were sent by the cloud
	stop   func() error
}

// open starts the cloud in this process, and enrols the carrier and the gateway.
func (s *story) open(ctx context.Context) error {
	log, err := os.OpenFile(filepath.Join(s.dir, "cloud.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	listener, err := service.Listen(ctx, "127.0.0.1:0")
	if err != nil {
		return err
	}
	back, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ready, done := make(chan *service.Running, 1), make(chan error, 1)
	direct := "http://" + listener.Addr().String()
	go func() {
		done <- service.Run(back, service.Options{DB: filepath.Join(s.dir, "mail.db"), Origin: s.cloudURL() + "," + direct, Listener: listener,
			Log: slog.New(slog.NewTextHandler(log, nil)), Ready: func(r *service.Running) { ready <- r }})
	}()
	var running *service.Running
	select {
	case running = <-ready:
	case err := <-done:
		cancel()
		return err
	}
	s.cable.Retarget(listener.Addr().String())
	s.letters = &carrierLetters{grants: map[string]bool{}, stop: func() error { cancel(); return errors.Join(<-done, log.Close()) }}
	return s.enrol(ctx, running.Box, direct)
}

func (s *story) enrol(ctx context.Context, box *mailbox.Box, at string) error {
	forCarrier, forGateway := gateway.NewSecret(gateway.NewJTI()), gateway.NewSecret(gateway.NewJTI())
	end := time.Now().Add(time.Hour)
	err := errors.Join(box.AddCode(ctx, mailbox.KindIssuer, string(carrierID), forCarrier, end), box.AddCode(ctx, mailbox.KindGateway, string(s.gateway), forGateway, end))
	if err != nil {
		return err
	}
	if s.letters.Carrier, err = s.carrier.Enrol(ctx, carrier.At{URL: at}, forCarrier.Reveal(), nil); err != nil {
		return err
	}
	if err := s.client.Do(ctx, http.MethodPost, "/v1/cloud/enrolment", api.CloudEnrolment{Code: forGateway.Reveal()}, nil); err != nil {
		return err
	}
	s.letters.to, err = s.letters.Gateway(ctx, s.gateway)
	return err
}

// news reads the carrier's events until one of a type and grant, and gives their types;
// those of before the cloud aside.
func (m *carrierLetters) news(ctx context.Context, last gateway.EventType, jti string) (list []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 12*time.Second)
	defer cancel()
	opening, err := m.Opening()
	if err != nil {
		return nil, err
	}
	r := &carrier.Reader{Carrier: m.Carrier, Opening: opening}
	err = r.Read(ctx, strconv.FormatInt(m.after, 10), func(name string, d carrier.Delivered) error {
		if name != "event" {
			return nil
		}
		var event gateway.Event
		if err := json.Unmarshal(d.Event, &event); err != nil {
			return err
		}
		if m.after = d.Seq; event.Sub == cloudSub || m.grants[event.Grant] {
			list = append(list, string(event.Type))
			m.grants[event.Grant] = true
		}
		if event.Type == last && event.Grant == jti {
			return carrier.ErrDone
		}
		return nil
	})
	if errors.Is(err, carrier.ErrDone) {
		err = nil
	}
	return list, err
}

const cloudSub = "parcel-4712"

// make makes a grant with a PIN, for one entry.
func (m *carrierLetters) make() (g gateway.Grant, err error) {
	g = carriersGrant(time.Hour)
	g.Sub = cloudSub
	g.PIN, err = m.to.DrawPIN(g.Doors)
	return g, err
}

func (s *story) cloud(ctx context.Context) error {
	s.say("A cloud starts: a blind mailbox. Gateway and carrier enrol there, each once, with a one-time code.")
	if err := errors.Join(s.open(ctx), s.want(ctx, "cloud_connected")); err != nil {
		return err
	}
	s.say("The carrier, miles away, makes a grant with a PIN, seals it to the gateway, and posts it (gardien-issuer grant --gateway %s …).", s.gateway)
	g, err := s.letters.make()
	if err != nil {
		return err
	}
	if err := errors.Join(s.letters.to.Grant(ctx, g), s.want(ctx, "grant_added")); err != nil {
		return err
	}
	fmt.Fprintf(s.out, "         It arrived by itself. The courier's phone shows the PIN %s; the cloud has never seen it.\n", g.PIN.Reveal())
	s.say("The courier types it, goes in, and closes the door.")
	if err := errors.Join(s.keys(ctx, g.PIN.Reveal()+"#"), s.want(ctx, "access_granted", "strike_released"),
		s.leaf(ctx, "open"), s.leaf(ctx, "close"), s.want(ctx, "access_taken", "strike_secured"), s.secured(ctx)); err != nil {
		return err
	}
	news, err := s.letters.news(ctx, gateway.StrikeSecured, g.ID.JTI)
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "         The carrier reads, decrypted: %s\n", strings.Join(news, ", "))
	return nil
}

func (s *story) cableCut(ctx context.Context) error {
	s.say("Two more grants come down. Then the cable to the internet is cut.")
	used, err := s.letters.make()
	if err != nil {
		return err
	}
	revoked, err := s.letters.make()
	if err != nil {
		return err
	}
	if err := errors.Join(s.letters.to.Grant(ctx, used), s.letters.to.Grant(ctx, revoked), s.want(ctx, "grant_added", "grant_added")); err != nil {
		return err
	}
	s.cable.Refuse()
	if err := s.want(ctx, "cloud_disconnected"); err != nil {
		return err
	}
	s.say("The first courier's PIN opens all the same: the gateway decides by itself.")
	if err := errors.Join(s.keys(ctx, used.PIN.Reveal()+"#"), s.want(ctx, "access_granted", "strike_released"),
		s.leaf(ctx, "open"), s.leaf(ctx, "close"), s.want(ctx, "access_taken", "strike_secured"), s.secured(ctx)); err != nil {
		return err
	}
	s.say("Meanwhile the carrier revokes the other grant. The revocation waits at the cloud.")
	gone, err := s.letters.to.Revocation(revoked.ID.JTI)
	if err != nil {
		return err
	}
	if err := s.letters.to.Grant(ctx, gone); err != nil {
		return err
	}
	s.say("The cable is mended.")
	mended := time.Now()
	s.cable.Heal()
	if err := s.want(ctx, "grant_revoked"); err != nil {
		return err
	}
	took := time.Since(mended)
	fmt.Fprintf(s.out, "         The revocation landed %s after that.\n", took.Round(time.Millisecond))
	if took > 2*time.Second {
		return fmt.Errorf("the revocation took %s, more than 2 s", took)
	}
	if err := errors.Join(s.keys(ctx, revoked.PIN.Reveal()+"#"), s.denied(ctx, gateway.WrongPIN)); err != nil {
		return err
	}
	s.say("What happened while the cable was cut reaches the carrier now, once each and in order.")
	news, err := s.letters.news(ctx, gateway.GrantRevokedOn, revoked.ID.JTI)
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "         The carrier reads: %s\n", strings.Join(news, ", "))
	want := "grant_added, grant_added, access_granted, strike_released, door_opened, access_taken, strike_secured, grant_revoked"
	if got := strings.Join(news, ", "); got != want {
		return fmt.Errorf("the carrier read %s, and should have read %s", got, want)
	}
	return nil
}

// close ends what the story started.
func (s *story) close() error {
	err := s.stop(syscall.SIGTERM)
	if s.letters != nil {
		if s.letters.Carrier != nil {
			s.letters.Close()
		}
		err = errors.Join(err, s.letters.stop())
	}
	s.cable.Close()
	return err
}
