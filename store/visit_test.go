package store_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"gardien/gateway"
	"gardien/store"
	"gardien/store/powercut"
)

// openings is how many entries the child makes.
const openings = 400

// ack is what the child tells the record. Its Kind says since when it must hold.
type ack struct {
	Kind  string // durable: from now on; followed: unless the power goes; retain: about to drop what is before Seq; forgot; floor
	Seq   int64  `json:",omitempty"`
	Hash  string `json:",omitempty"`
	Grant string `json:",omitempty"` // spent
	Ref   string `json:",omitempty"` // forgotten
	Floor time.Time
}

// openingsChild opens a door 400 times as access and doors do it, and tells after
// each durable step that it was acknowledged.
func openingsChild(dir string) error {
	v, err := newVisit(dir)
	if err != nil {
		return err
	}
	s := v.store
	defer s.Close()
	for i := range openings {
		if err := v.opening(i); err != nil {
			return fmt.Errorf("opening %d: %w", i, err)
		}
		if err := v.upkeep(i); err != nil {
			return fmt.Errorf("upkeep after opening %d: %w", i, err)
		}
	}
	return s.Close()
}

type visit struct {
	store *store.Store
	clock *clock
	acks  *powercut.AckWriter
}

// newVisit opens the store in a traced child; what Go writes to the WAL by itself is recorded, too.
func newVisit(dir string) (*visit, error) {
	w, err := powercut.OpenAckWriter(os.Getenv("GARDIEN_TRACE_LOG"))
	if err != nil {
		return nil, err
	}
	store.OnRewrite(func(path string, size, off int64, b []byte) {
		if err := w.Rewrite(filepath.Base(path), size, off, b); err != nil {
			panic(err)
		}
	})
	store.OnWitness(func(path string, size int64, b []byte) {
		if err := w.Written(filepath.Base(path), size, b); err != nil {
			panic(err)
		}
	})
	v := &visit{clock: newClock(), acks: w}
	v.store, err = openStore(dir, v.clock, false)
	return v, err
}

func (v *visit) ack(a ack) error {
	b, err := json.Marshal(a)
	return errors.Join(err, v.acks.Ack(string(b)))
}

// ackHead acknowledges the newest event.
func (v *visit) ackHead(kind, grant string) error {
	seq := v.store.Head()
	events, err := v.store.Events(context.Background(), seq-1, 1)
	if err != nil {
		return err
	}
	return v.ack(ack{Kind: kind, Seq: seq, Hash: events[0].Hash, Grant: grant})
}

func ref(i int) string { return fmt.Sprintf("ref-%04d-courier", i) }

// opening is one entry by a one-time grant: taken in, decided, followed, secured.
func (v *visit) opening(i int) error {
	ctx := context.Background()
	g := oneTime("carrier.example", fmt.Sprintf("parcel-%04d", i*7919%openings), ref(i))
	g.NotAfter = v.clock.Read().Wall.Add(20 * time.Minute)
	r := v.clock.Read()
	a := gateway.Attempt{ID: gateway.NewAttemptID(), Door: "front", Reader: "keypad", Grant: g.ID, At: r}
	err := v.store.Update(ctx, func(tx *store.Tx) error {
		tx.Grants.Put(g, []byte("digest"))
		tx.Codes.Put(gateway.PINRecord{Grant: g.ID, Door: "front", Length: 8}, fmt.Append(nil, "mac", i))
		tx.Issuers.Heard(g.ID.Issuer, r.Wall)
		return tx.Record.AppendAt(r, gateway.Event{Type: gateway.GrantAdded, Issuer: g.ID.Issuer, Grant: g.ID.JTI, Sub: g.Sub})
	})
	if err == nil {
		err = v.ackHead("durable", "")
	}
	if err != nil {
		return err
	}
	err = v.store.Update(ctx, func(tx *store.Tx) error {
		if !tx.Grants.Spend(g.ID) {
			return errors.New("not spent")
		}
		tx.Issuers.CountEntry(g.ID.Issuer, "2026-11-23")
		tx.House.Floor(r.Earliest)
		granted := gateway.AccessGranted.Of(a)
		granted.Sub = g.Sub
		return tx.Record.AppendAt(r, granted)
	})
	if err == nil {
		err = v.ackHead("durable", g.ID.JTI)
	}
	if err != nil {
		return err
	}
	for _, events := range [][]gateway.Event{{gateway.StrikeReleased.Of(a)}, {gateway.DoorOpened.Of(a), gateway.AccessTaken.Of(a)}} {
		err := v.store.Follow(ctx, func(tx *store.Tx) error { return tx.Record.AppendAt(v.clock.Read(), events...) })
		if err == nil {
			err = v.ackHead("followed", "")
		}
		if err != nil {
			return err
		}
	}
	err = v.store.Update(ctx, func(tx *store.Tx) error {
		tx.Codes.Wipe(g.ID)
		return tx.Record.AppendAt(v.clock.Read(), gateway.StrikeSecured.Of(a))
	})
	if err == nil {
		err = v.ackHead("durable", "")
	}
	return err
}

// upkeep is what happens now and then between entries.
func (v *visit) upkeep(i int) (err error) {
	ctx := context.Background()
	s := v.store
	if i%11 == 10 {
		floor := v.clock.Read().Wall
		if err = s.Update(ctx, func(tx *store.Tx) error {
			tx.House.PutClock(store.ClockState{Floor: floor, Boot: "boot-1", BootWall: start})
			return tx.Err()
		}); err == nil {
			err = v.ack(ack{Kind: "floor", Floor: floor})
		}
	}
	if i%37 == 36 && err == nil {
		err = s.CheckpointBeside(ctx, 0)
	}
	if i%29 == 28 && err == nil {
		cutoff := v.clock.Read().Wall.Add(-60 * time.Second)
		var old []gateway.Event
		if old, err = s.Events(ctx, 0, 2000); err == nil {
			n, _ := slices.BinarySearchFunc(old, cutoff, func(e gateway.Event, t time.Time) int {
				at, _ := time.Parse(time.RFC3339, e.At)
				return at.Compare(t)
			})
			err = v.ack(ack{Kind: "retain", Seq: old[n].Seq})
		}
		if err == nil {
			_, err = s.Retain(ctx, cutoff)
		}
		if err == nil {
			err = s.Scrub(ctx)
		}
	}
	if i%53 == 52 && err == nil {
		if _, err = s.Forget(ctx, ref(i-3)); err == nil {
			err = v.ack(ack{Kind: "forgot", Ref: ref(i - 3)})
		}
	}
	return err
}
