package main

import (
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"gardien/gateway"
	"gardien/gateway/api"
)

// pauses is the commands that keep third parties out.
type pauses struct{ *tool }

// until says when something ends, where that is known.
func until(at *string) string {
	if at == nil {
		return ""
	}
	return " until " + *at
}

// instant reads a flag as an instant of the gateway's zone; nil: it was not given.
func (t pauses) instant(cmd *cobra.Command, flag string, parse func(string, *time.Location) (time.Time, error)) (*time.Time, error) {
	f := cmd.Flag(flag)
	if !f.Changed {
		return nil, nil
	}
	now, err := t.gatewayTime(cmd)
	if err != nil {
		return nil, err
	}
	v, err := parse(f.Value.String(), now.Location())
	if err != nil {
		return nil, usage("--%s: %v", flag, err)
	}
	return &v, nil
}

// stretch says from when and until when, where that is limited.
func stretch(from, until *time.Time) (text string) {
	if from != nil {
		text = " from " + from.Format(time.RFC3339)
	}
	if until != nil {
		text += " until " + until.Format(time.RFC3339)
	}
	return text
}

func untilFlag(cmd *cobra.Command) {
	cmd.Flags().String("until", "", "when it ends: RFC 3339, or 2026-12-01T09:00 in the gateway's zone; a day is included (default: at resume)")
}

func (t pauses) pause() *cobra.Command {
	var home bool
	var keep []string
	cmd := &cobra.Command{Use: "pause", Short: "Let no third party in until resume, or go on vacation", Args: cobra.NoArgs,
		Long: `pause lets no third party in: at once, or --from a time on, until "gardien resume" or the
time of --until. Grants made at home still open. With --home they are paused as well, PINs
and cards alike, but for those that --keep names: a vacation. Your own PIN is such a grant;
"gardien grant list" shows the ids. Paired devices open all the time.

A pause replaces the one before it. It ends at --until only when that has surely passed, so
that with a clock that is not believed it goes on until "gardien resume".`,
		Example: `  gardien pause                                        no third party comes in until resume
  gardien pause --until 2026-12-01T18:00
  gardien pause --home --from 2026-12-20 --until 2027-01-03 --keep 7dJ0c2QyT5mKq1vXz8LwAg
                                                       both days included, one PIN is kept`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			req := api.PauseRequest{Home: home}
			var err error
			if req.From, err = t.instant(cmd, "from", gateway.ParseTime); err != nil {
				return err
			}
			if req.Until, err = t.instant(cmd, "until", gateway.ParseEnd); err != nil {
				return err
			}
			for _, text := range keep {
				id, err := gateway.ParseGrantID(text)
				if err != nil {
					return usage("--keep: %v", err)
				}
				req.Keep = append(req.Keep, id)
			}
			if err := t.act(cmd, "POST", "/v1/pause", req); err != nil {
				return err
			}
			return t.paused(req)
		}}
	fl := cmd.Flags()
	fl.String("from", "", "when it begins (default: now)")
	untilFlag(cmd)
	fl.BoolVar(&home, "home", false, "pause grants made at home, too")
	fl.StringSliceVar(&keep, "keep", nil, "with --home: a grant made at home that opens all the same; may be given again")
	return cmd
}

// paused tells what was done.
func (t pauses) paused(req api.PauseRequest) error {
	who, rest := "all third parties are paused", "grants made at home still open"
	if req.Home {
		who, rest = "all third parties and grants made at home are paused", "only paired devices open"
		if len(req.Keep) > 0 {
			rest = "the grants that are kept still open, and paired devices"
		}
	}
	return t.done("%s%s; %s", who, stretch(req.From, req.Until), rest)
}

func (t pauses) resume() *cobra.Command {
	return &cobra.Command{Use: "resume", Short: "End the pause of all third parties, or the vacation, be it planned or not", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := t.act(cmd, "POST", "/v1/resume", nil); err != nil {
				return err
			}
			return t.done("third parties may come again")
		}}
}

func (t pauses) pauseIssuer() *cobra.Command {
	cmd := &cobra.Command{Use: "pause ID", Short: "Pause one third party until resume, or until a time", Args: cobra.ExactArgs(1),
		Example: `  gardien issuer pause colis-x.example --until 2026-12-01`,
		RunE: func(cmd *cobra.Command, args []string) error {
			at, err := t.instant(cmd, "until", gateway.ParseEnd)
			if err != nil {
				return err
			}
			if err := t.act(cmd, "POST", "/v1/issuers/"+url.PathEscape(args[0])+"/pause", api.IssuerPauseRequest{Until: at}); err != nil {
				return err
			}
			return t.done("%s: paused%s", args[0], stretch(nil, at))
		}}
	untilFlag(cmd)
	return cmd
}

func (t pauses) resumeIssuer() *cobra.Command {
	return &cobra.Command{Use: "resume ID", Short: "Resume one third party", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := t.act(cmd, "POST", "/v1/issuers/"+url.PathEscape(args[0])+"/resume", nil); err != nil {
				return err
			}
			return t.done("%s: resumed", args[0])
		}}
}
