package main

import (
	"net/url"

	"github.com/spf13/cobra"
)

func readerCmd(t *tool) *cobra.Command {
	return group("reader", "Keypads, card readers and scanners", &cobra.Command{Use: "lift ID", Short: "End the lock-out of a reader",
		Long: `lift ends the lock-out of a reader after wrong PINs or unknown cards, and the pause of
third parties' PINs and cards there. Ten further failures are allowed before that pause
comes back. Look first who stands at the door: "gardien events" tells of the failures.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := t.act(cmd, "POST", "/v1/readers/"+url.PathEscape(args[0])+"/lift", nil); err != nil {
				return err
			}
			return t.done("%s: it takes PINs and cards again", args[0])
		}})
}
