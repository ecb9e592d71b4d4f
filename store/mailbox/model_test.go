package mailbox

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gardien/gateway"
)

// testHazard: 16 writers on one gateway, 10 readers, and not one change unseen.
func testHazard(t *testing.T, b *Box) {
	const writers, each, readers = 16, 25, 10
	enrol(t, b, gwA, issX)
	p := position(b, t)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for n := range each {
				if _, _, err := b.Put(bg, gwA, issX, item(fmt.Sprintf("w%d-%d", w, n), 1), now); err != nil {
					t.Errorf("write: %v", err)
				}
			}
		})
	}
	for range readers {
		wg.Go(func() {
			woken, stop := b.WatchGateway(gwA)
			defer stop()
			seen := map[string]bool{}
			for p := p; len(seen) < writers*each; {
				page, done, err := b.Feed(bg, gwA, p, 7, now)
				if err != nil {
					t.Errorf("read: %v", err)
					return
				}
				for _, i := range page.Items {
					if i.Seq != p.Seq+1 {
						t.Errorf("change %d after %d", i.Seq, p.Seq)
						return
					}
					seen[i.ID], p.Seq = true, i.Seq
				}
				if done && len(seen) < writers*each {
					select {
					case <-woken:
					case <-time.After(20 * time.Second):
						t.Errorf("a wake-up did not come: %d of %d seen", len(seen), writers*each)
						return
					}
				}
			}
		})
	}
	wg.Wait()
}

// testModel holds random histories against a model of a dozen lines.
func testModel(t *testing.T, b *Box) {
	enrol(t, b, gwA, issX)
	rng := rand.New(rand.NewPCG(1, 2))
	model := map[string]gateway.Item{}
	head := int64(0)
	reader := map[string]gateway.Item{}
	p := position(b, t)
	for range 300 {
		switch rng.IntN(12) {
		case 0:
			if err := b.Compact(bg, gwA, time.Unix(0, 0)); err != nil {
				t.Fatal(err)
			}
		case 1:
			page, _, err := b.Feed(bg, gwA, p, 1000, now)
			var gone *gateway.FeedGone
			if errors.As(err, &gone) {
				s, err := b.Snapshot(bg, gwA)
				if err != nil {
					t.Fatal(err)
				}
				clear(reader)
				for _, i := range s.Items {
					reader[i.ID] = i
				}
				p = gateway.Position{Epoch: s.Epoch, Seq: s.Head}
			} else if err != nil {
				t.Fatal(err)
			}
			for _, i := range page.Items {
				if gone == nil {
					reader[i.ID], p.Seq = i.Item, i.Seq
				}
			}
			if d := cmp.Diff(model, reader); d != "" {
				t.Fatal(d)
			}
			if page.Digest != gateway.DigestOf(slices.Collect(valuesOf(model))) {
				t.Fatal("the digest is not that of the items")
			}
		default:
			i := item(fmt.Sprint(rng.IntN(20)), 1+rng.Int64N(5))
			i.Body += fmt.Sprint(rng.IntN(2))
			old, had := model[i.ID]
			seq, isNew, err := b.Put(bg, gwA, issX, i, now)
			switch {
			case !had || i.Ver > old.Ver:
				head++
				model[i.ID] = i
				if seq != head || !isNew || err != nil {
					t.Fatalf("%d, %v, %v", seq, isNew, err)
				}
			case i == old:
				if isNew || err != nil {
					t.Fatalf("%v, %v", isNew, err)
				}
			default:
				var conflict *gateway.VersionConflict
				if !errors.As(err, &conflict) || conflict.Ver != old.Ver {
					t.Fatal(err)
				}
			}
		}
	}
}

func valuesOf(m map[string]gateway.Item) func(func(gateway.Item) bool) {
	return func(yield func(gateway.Item) bool) {
		for _, v := range m {
			if !yield(v) {
				return
			}
		}
	}
}
