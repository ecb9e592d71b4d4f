package uplink

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"gardien/gateway"
)

// Most items that are taken at once. Bytes alone bound nothing: an empty item has two.
const (
	maxSnapshotItems = 40_000
	maxPageItems     = 1_000
)

// readSnapshot reads item by item: the text is never in memory as a whole.
func readSnapshot(r io.Reader) (s gateway.FeedSnapshot, err error) {
	s.Items, err = readList[gateway.Item](r, maxSnapshotItems, map[string]any{"epoch": &s.Epoch, "head": &s.Head, "digest": &s.Digest})
	return s, err
}

// readPage reads the answer to a long poll.
func readPage(r io.Reader) (p gateway.FeedPage, err error) {
	p.Items, err = readList[gateway.FeedItem](r, maxPageItems, map[string]any{"epoch": &p.Epoch, "head": &p.Head, "floor": &p.Floor,
		"digest": &p.Digest, "time": &p.Time})
	return p, err
}

// readList reads an object with a list of items, and other members into what they are for.
func readList[T any](r io.Reader, most int, members map[string]any) (items []T, err error) {
	dec := json.NewDecoder(r)
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.Join(errors.New("not an object"), err)
	}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, err
		}
		into := members[name.(string)]
		switch {
		case name == "items":
			items, err = readItems[T](dec, most)
		case into != nil:
			err = dec.Decode(into)
		default:
			var skipped json.RawMessage
			err = dec.Decode(&skipped)
		}
		if err != nil {
			return nil, err
		}
	}
	_, err = dec.Token()
	return items, err
}

func readItems[T any](dec *json.Decoder, most int) (items []T, err error) {
	switch t, err := dec.Token(); {
	case err == nil && t == nil: // null is an empty list
		return nil, nil
	case err != nil || t != json.Delim('['):
		return nil, errors.Join(errors.New("items: not a list"), err)
	}
	for dec.More() {
		if len(items) >= most {
			return nil, fmt.Errorf("more than %d items", most)
		}
		var i T
		if err := dec.Decode(&i); err != nil {
			return nil, err
		}
		items = append(items, i)
	}
	_, err = dec.Token()
	return items, err
}
