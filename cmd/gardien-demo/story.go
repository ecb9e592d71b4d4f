package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"time"

	"gardien/gateway"
	"gardien/gateway/api"
	"gardien/gateway/tokens"
)

// story tells, and holds what happens against what it told.
type story struct {
	*house
	letters *carrierLetters
	out     io.Writer
	pause   time.Duration
	begun   time.Time
	seq     int64 // events that were told already
}

func newStory(out io.Writer, fast bool) (*story, error) {
	h, err := newHouse()
	s := &story{house: h, out: out, pause: 1200 * time.Millisecond, begun: time.Now()}
	if fast {
		s.pause = 0
	}
	return s, err
}

func (s *story) say(format string, args ...any) {
	fmt.Fprintf(s.out, "\n%6.2fs  %s\n", time.Since(s.begun).Seconds(), fmt.Sprintf(format, args...))
	time.Sleep(s.pause)
}

// want waits for events of these types, in this order, and shows all that happen until
// then. A type may carry a reason: "access_denied/wrong_pin".
func (s *story) want(ctx context.Context, types ...string) error {
	deadline := time.Now().Add(12 * time.Second)
	for len(types) > 0 {
		page, err := s.events(ctx, s.seq)
		if err != nil {
			return err
		}
		for _, e := range page.Events {
			name := string(e.Type)
			if e.Reason != "" {
				name += "/" + string(e.Reason)
			}
			fmt.Fprintf(s.out, "         %s  %s %s\n", e.At[11:23], name, e.Grant)
			s.seq = e.Seq
			if len(types) > 0 && name == types[0] {
				types = types[1:]
			}
		}
		if len(types) == 0 {
			break
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("expected %s next, and it did not come", types[0])
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

// secured holds that the strike is secured now.
func (s *story) secured(ctx context.Context) error {
	d, err := s.door(ctx)
	if err == nil && (d.Strike == nil || *d.Strike != "secured") {
		err = errors.New("the strike is not secured")
	}
	return err
}

// denied holds that the refusal is in the record and the strike secured.
func (s *story) denied(ctx context.Context, reason gateway.Reason) error {
	return errors.Join(s.want(ctx, "access_denied/"+string(reason)), s.secured(ctx))
}

func (s *story) tell(ctx context.Context) error {
	fmt.Fprintf(s.out, "A gateway with one simulated door, in %s\n", s.dir)
	for _, chapter := range []func(context.Context) error{s.begin, s.courier, s.carrierComes, s.forger, s.cloud, s.cableCut, s.powerCut, s.clockBack, s.record} {
		if err := chapter(ctx); err != nil {
			return err
		}
	}
	fmt.Fprintf(s.out, "\n%6.2fs  Everything happened as told.\n", time.Since(s.begun).Seconds())
	return nil
}

func (s *story) begin(ctx context.Context) error {
	s.say("The daemon starts: every strike is secured first, then the database is checked.")
	return errors.Join(s.start(ctx, "now"), s.want(ctx, "gateway_started"), s.secured(ctx))
}

func (s *story) courier(ctx context.Context) error {
	s.say("A resident makes a one-time PIN for today (gardien grant add --door front --uses 1 --pin).")
	end, once := time.Now().Add(time.Hour), 1
	var made api.GrantMade
	err := s.client.Do(ctx, "POST", "/v1/grants", api.GrantRequest{Doors: []gateway.DoorID{"front"}, NotAfter: &end, Uses: &once, PIN: true}, &made)
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "         The PIN is %s; the gateway itself keeps only a keyed hash of it.\n", made.PIN)
	s.say("The courier types it. The use is spent durably, and only then the strike releases.")
	if err := errors.Join(s.keys(ctx, made.PIN+"#"), s.want(ctx, "access_granted", "strike_released")); err != nil {
		return err
	}
	s.say("The courier opens the door, leaves the parcel, and closes it.")
	if err := errors.Join(s.leaf(ctx, "open"), s.leaf(ctx, "close"), s.want(ctx, "door_opened", "access_taken", "door_closed", "strike_secured"), s.secured(ctx)); err != nil {
		return err
	}
	s.say("The same PIN again: it is no PIN any more.")
	return errors.Join(s.keys(ctx, made.PIN+"#"), s.denied(ctx, gateway.WrongPIN))
}

func (s *story) carrierComes(ctx context.Context) error {
	s.say("A carrier whom the resident allows has signed a grant; its courier shows it as a QR code.")
	text, err := s.grant(time.Hour)
	if err != nil {
		return err
	}
	if err := errors.Join(s.scan(ctx, text), s.want(ctx, "grant_added", "access_granted", "strike_released")); err != nil {
		return err
	}
	s.say("The door stays shut this time. Nobody entered, and the record says so.")
	if err := s.want(ctx, "strike_secured", "access_not_taken"); err != nil {
		return err
	}
	s.say("So the same code may try again without a second use; this time the courier goes in.")
	if err := errors.Join(s.scan(ctx, text), s.leaf(ctx, "open"), s.leaf(ctx, "close"), s.want(ctx, "access_granted", "access_taken", "strike_secured")); err != nil {
		return err
	}
	s.say("And once more: spent.")
	return errors.Join(s.scan(ctx, text), s.denied(ctx, gateway.UsesSpent))
}

func (s *story) forger(ctx context.Context) error {
	s.say("Somebody forges a grant of that carrier with a key of his own.")
	key, err := tokens.GenerateES256()
	if err != nil {
		return err
	}
	text, err := tokens.SignGrant(key, s.gateway, carriersGrant(time.Hour))
	if err != nil {
		return err
	}
	if err := errors.Join(s.scan(ctx, text), s.denied(ctx, gateway.BadSignature)); err != nil {
		return err
	}
	s.say("Or changes one letter of a real one.")
	if text, err = s.grant(time.Hour); err != nil {
		return err
	}
	i := strings.LastIndexByte(text, '.') + 10
	letter := byte('A')
	if text[i] == letter {
		letter = 'B'
	}
	return errors.Join(s.scan(ctx, text[:i]+string(letter)+text[i+1:]), s.denied(ctx, gateway.BadSignature))
}

func (s *story) powerCut(ctx context.Context) error {
	s.say("A grant is used, and the daemon is killed with SIGKILL while the strike is released.")
	text, err := s.grant(time.Hour)
	if err != nil {
		return err
	}
	if err := errors.Join(s.scan(ctx, text), s.want(ctx, "access_granted", "strike_released")); err != nil {
		return err
	}
	if err := s.stop(syscall.SIGKILL); err != nil {
		return err
	}
	s.say("It comes back: nothing is released again, nothing is lost, and the entry is told as interrupted.")
	if err := errors.Join(s.start(ctx, "now"), s.want(ctx, "interrupted", "gateway_started"), s.secured(ctx)); err != nil {
		return err
	}
	s.say("The grant that was on its way is spent: once is once.")
	return errors.Join(s.scan(ctx, text), s.denied(ctx, gateway.UsesSpent))
}

func (s *story) clockBack(ctx context.Context) error {
	s.say("A grant of two seconds runs out unused.")
	text, err := s.grant(2 * time.Second)
	if err != nil {
		return err
	}
	if err := s.client.Do(ctx, "POST", "/v1/mailbag", map[string]any{"items": []string{text}}, nil); err != nil {
		return err
	}
	time.Sleep(2100 * time.Millisecond)
	if err := errors.Join(s.scan(ctx, text), s.denied(ctx, gateway.Expired), s.stop(syscall.SIGTERM)); err != nil {
		return err
	}
	s.say("After a power cut the machine believes that it is the year 2000. The gateway does not: it keeps a floor.")
	if err := errors.Join(s.start(ctx, "2000-01-01T00:00:00Z"), s.want(ctx, "gateway_stopped", "gateway_started")); err != nil {
		return err
	}
	if err := errors.Join(s.scan(ctx, text), s.denied(ctx, gateway.Expired)); err != nil {
		return err
	}
	s.say("Nor does it let a grant in that may be over for all it knows; residents still open.")
	if text, err = s.grant(time.Hour); err != nil {
		return err
	}
	if err := errors.Join(s.scan(ctx, text), s.denied(ctx, gateway.ClockUntrusted)); err != nil {
		return err
	}
	if err := s.client.Do(ctx, "POST", "/v1/doors/front/attempts", struct{}{}, nil); err != nil {
		return err
	}
	return errors.Join(s.want(ctx, "access_granted", "strike_released", "strike_secured"), s.stop(syscall.SIGTERM), s.start(ctx, "now"))
}

func (s *story) record(ctx context.Context) error {
	s.say("The record: every event is chained to the one before it (gardien events verify).")
	var v api.Verification
	if err := s.client.Do(ctx, "GET", "/v1/events/verification", nil, &v); err != nil {
		return err
	}
	if !v.OK {
		return fmt.Errorf("the record does not verify: %s", v.Problem)
	}
	fmt.Fprintf(s.out, "         %d events, one chain.\n", v.Events)
	return nil
}

// stay leaves the gateway running until it is interrupted.
func (s *story) stay(ctx context.Context) {
	fmt.Fprintf(s.out, `
The gateway goes on running; Ctrl-C ends it. In another terminal, from this folder:
  export GARDIEN_SOCKET=%[1]s/api.sock
  go run ./cmd/gardien status
  go run ./cmd/gardien grant add --door front --uses 1 --pin
  go run ./cmd/gardien sim keys keypad 'PIN#'
  go run ./cmd/gardien sim contact front open
  go run ./cmd/gardien events --follow
`, s.dir)
	if s.letters != nil {
		fmt.Fprintf(s.out, `And as the carrier, over the cloud:
  go run ./cmd/gardien-issuer fleet --key %[1]s
  go run ./cmd/gardien-issuer grant --key %[1]s --gateway %[2]s --door front --uses 1 --pin
  go run ./cmd/gardien-issuer watch --key %[1]s
`, s.folder(), s.gateway)
	}
	<-ctx.Done()
}
