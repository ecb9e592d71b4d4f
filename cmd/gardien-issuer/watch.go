package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gardien/cmd/gardien-issuer/carrier"
	"gardien/gateway"
	"gardien/gateway/uplink"
)

// watchFlags are what watch takes.
type watchFlags struct {
	key, webhook, secret string
	after                int64
	presence, once       bool
	again                bool // --after was given
}

func (t *tool) watchCmd() *cobra.Command {
	var fl watchFlags
	cmd := &cobra.Command{Use: "watch --key DIR", Short: "The events of the issuer's grants, as they come", Args: cobra.NoArgs,
		Long: `watch prints each event once, decrypted, and goes on where it left off: watch.json and
watch.seen in DIR remember. With --webhook it also posts each event, in order, and tries until the other
side answers 2xx; what it refuses with 4xx is told and passed by. A post has the header
Idempotency-Key, and with --webhook-secret also Gardien-Signature: "t=UNIX,v1=HEX", the
HMAC-SHA-256 of "UNIX.BODY".`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := connected(fl.key)
			if err != nil {
				return err
			}
			opening, err := c.Opening()
			if err != nil {
				return err
			}
			state, err := c.ReadWatched()
			if err != nil {
				return fmt.Errorf("watch.json: %w", err)
			}
			if cmd.Flags().Changed("after") {
				state, fl.again = carrier.Watched{After: fl.after}, true
			}
			var hook *webhook
			if fl.webhook != "" {
				if hook, err = newWebhook(fl.webhook, fl.secret, t.errOut); err != nil {
					return err
				}
			}
			passedBy := func(l gateway.Delivered, err error) {
				fmt.Fprintf(t.errOut, "gardien-issuer: event %d of %s is passed by: %v\n", l.Seq, l.Gateway, err)
			}
			return t.watch(cmd.Context(), &carrier.Reader{Carrier: c, Opening: opening, PassedBy: passedBy}, fl, state, hook)
		}}
	f := cmd.Flags()
	f.StringVar(&fl.key, "key", "", "the folder that keygen made")
	f.Int64Var(&fl.after, "after", 0, "begin after this seq, in place of where it left off")
	f.BoolVar(&fl.presence, "presence", false, "also tell which gateways come and go")
	f.BoolVar(&fl.once, "once", false, "end when all that there is was told")
	f.StringVar(&fl.webhook, "webhook", "", "URL to post events to")
	f.StringVar(&fl.secret, "webhook-secret", "", "file with the secret that signs posts")
	return cmd
}

// watch reads the feed until it is told to stop, over connections that end.
func (t *tool) watch(ctx context.Context, w *carrier.Reader, fl watchFlags, state carrier.Watched, hook *webhook) error {
	known, err := w.OpenSeen()
	if err != nil {
		return err
	}
	defer known.Close()
	if fl.again { // whoever asks for them from a place on gets them once more
		known.Forget()
	}
	failures := 0
	for {
		began := time.Now()
		err := w.Read(ctx, strconv.FormatInt(state.After, 10), func(name string, d carrier.Delivered) error {
			switch name {
			case "presence":
				if fl.presence {
					return t.tell(d)
				}
				return nil
			case "head":
				if fl.once {
					return carrier.ErrDone
				}
				return nil
			case "passed":
				state.After = d.Seq
				return w.SaveWatched(state)
			case "event":
			default:
				return nil
			}
			if key := d.Key(); !known.Has(key) {
				if err := t.tell(d); err != nil {
					return err
				}
				if hook != nil {
					if err := hook.post(ctx, d, hex.EncodeToString(key[:])); err != nil {
						return err
					}
				}
				if err := known.Add(key); err != nil {
					return err
				}
			}
			state.After = d.Seq
			return w.SaveWatched(state)
		})
		var refused *uplink.StatusError
		switch {
		case errors.Is(err, carrier.ErrDone) || ctx.Err() != nil:
			return nil
		case errors.As(err, &refused) && refused.Status < 500 && refused.Status != http.StatusTooManyRequests:
			return err
		}
		if time.Since(began) >= time.Minute { // a stream that ends at once is as none
			failures = 0
		}
		wait := time.Millisecond + rand.N(min(500*time.Millisecond<<min(failures, 10), time.Minute))
		if refused != nil {
			wait = max(wait, refused.RetryAfter)
		}
		failures++
		if failures > 1 {
			fmt.Fprintf(t.errOut, "gardien-issuer: %v; trying again\n", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// tell prints one line.
func (t *tool) tell(d carrier.Delivered) error {
	if t.json {
		return json.NewEncoder(t.out).Encode(d)
	}
	if d.Online != nil {
		state := map[bool]string{true: "online", false: "offline"}[*d.Online]
		_, err := fmt.Fprintf(t.out, "%s  %s  %s\n", d.At, d.Gateway, state)
		return err
	}
	var e gateway.Event
	if err := json.Unmarshal(d.Event, &e); err != nil {
		return err
	}
	words := []string{e.At, string(d.Gateway), string(e.Type)}
	for _, p := range [][2]string{{"door", string(e.Door)}, {"grant", e.Grant}, {"reason", string(e.Reason)}, {"ref", e.Sub}} {
		if p[1] != "" {
			words = append(words, p[0]+" "+p[1])
		}
	}
	_, err := fmt.Fprintln(t.out, strings.Join(words, "  "))
	return err
}

// webhook posts events.
type webhook struct {
	url    string
	secret gateway.Secret
	http   *http.Client
	errOut io.Writer
}

func newWebhook(to, secretFile string, errOut io.Writer) (*webhook, error) {
	if u, err := url.Parse(to); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, usage("--webhook %q: want a URL", to)
	}
	h := &webhook{url: to, http: &http.Client{Timeout: 15 * time.Second}, errOut: errOut}
	if secretFile != "" {
		b, err := os.ReadFile(secretFile)
		if err != nil {
			return nil, err
		}
		h.secret = gateway.NewSecret(strings.TrimSpace(string(b)))
	}
	return h, nil
}

// post tries until the other side has the event, or refuses it, or ctx ends.
func (h *webhook) post(ctx context.Context, d carrier.Delivered, key string) error {
	body, err := json.Marshal(d)
	if err != nil {
		return err
	}
	for failures := 0; ; failures++ {
		status, err := h.once(ctx, body, key)
		final := status >= 400 && status < 500 && status != http.StatusRequestTimeout && status != http.StatusTooManyRequests
		switch {
		case err == nil && status >= 200 && status < 300:
			return nil
		case err == nil && final:
			fmt.Fprintf(h.errOut, "gardien-issuer: the webhook refuses event %d with %d; it is passed by\n", d.Seq, status)
			return nil
		case failures == 0:
			fmt.Fprintf(h.errOut, "gardien-issuer: the webhook does not take event %d (status %d, %v); trying on\n", d.Seq, status, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond + rand.N(min(time.Second<<min(failures, 10), time.Minute))):
		}
	}
}

func (h *webhook) once(ctx context.Context, body []byte, key string) (status int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", key)
	if !h.secret.IsZero() {
		now := strconv.FormatInt(time.Now().Unix(), 10)
		m := hmac.New(sha256.New, []byte(h.secret.Reveal()))
		m.Write([]byte(now + "."))
		m.Write(body)
		req.Header.Set("Gardien-Signature", "t="+now+",v1="+hex.EncodeToString(m.Sum(nil)))
	}
	res, err := h.http.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10))
	return res.StatusCode, nil
}
