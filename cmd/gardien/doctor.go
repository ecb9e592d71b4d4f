package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"gardien/gateway"
	"gardien/gateway/api"
)

func (t *tool) doctorCmd() *cobra.Command {
	return &cobra.Command{Use: "doctor", Short: "Look for trouble: doors, readers, clock, database, record", Args: cobra.NoArgs,
		Long: `doctor lists what somebody should look at, the most urgent first, with its remedy. It ends with
exit code 1 if something should be done now or today (✗). What is only good to know (!) is no
reason for that.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := get[api.Status](cmd, t, "/v1/status")
			if err != nil {
				return err
			}
			v, err := get[api.Verification](cmd, t, "/v1/events/verification")
			if err != nil {
				return err
			}
			if !v.OK {
				s.Notes = append([]string{"the record is not what was written: " + broken(v)}, s.Notes...)
				s.Severities = append([]gateway.Severity{gateway.SeverityNow}, s.Severities...)
			}
			bad := 0
			for i := range s.Notes {
				if isBad(s, i) {
					bad++
				}
			}
			err = t.print(map[string]any{"ok": bad == 0, "notes": s.Notes, "severities": s.Severities, "events": v.Events}, func() {
				t.printNotes(s)
				if bad == 0 {
					fmt.Fprintln(t.out, t.paint(green, fmt.Sprintf("✓ all is well; %d events verify", v.Events)))
				}
			})
			switch {
			case err != nil || bad == 0:
				return err
			case bad == 1:
				return errors.New("1 finding to look at")
			}
			return fmt.Errorf("%d findings to look at", bad)
		}}
}

// isBad reports a note of which somebody should do something.
func isBad(s api.Status, i int) bool {
	return i >= len(s.Severities) || s.Severities[i] != gateway.SeverityInfo
}

// printNotes lists what is found.
func (t *tool) printNotes(s api.Status) {
	for i, n := range s.Notes {
		if isBad(s, i) {
			fmt.Fprintln(t.out, t.paint(red, "✗ "+n))
		} else {
			fmt.Fprintln(t.out, t.paint(yellow, "! "+n))
		}
	}
}
