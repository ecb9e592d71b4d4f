// Package doors runs doors: it releases and secures, and says from the contact
// what came of it.
//
// A [Door] has one deadline. A release sets it, overlapping releases extend it and
// never cut it (F11), and the leaf's opening brings it forward to the relock delay. A strike
// is secured after a minute whoever asks for more, and whatever happens here the driver
// secures by itself after gateway.ReleaseLimit (F1).
//
//	released, leaf opens        door_opened, access_taken; secured after the relock delay
//	released, nobody comes      strike_secured, access_not_taken; the grant may try again
//	opens without release/REX   door_opened, door_forced_open
//	open too long               door_held_open, again after twice, four times … as long
//	REX                         request_to_exit; shunts the alarm, or releases (F4)
//	driver fails                door_fault; securing is tried again until it succeeds
//	driver does not answer      door_fault, lock_unknown; the door is blocked until it does
//
// # Who waits for whom
//
// One goroutine owns a door and all that is known of it ([Door.Run]). A strike is a wire, and
// the owner moves it itself: nothing stands between a request to exit, or a decision, and the
// wire (F4). A lock may take seconds, so the hand, a goroutine beside the owner, makes the
// calls, one at a time, and the owner goes on. Each call has a deadline, for strikes, too;
// a latch that is slow, hung or gone holds up its own door alone (F12). Whoever asks for a
// release waits for the answer, or for the deadline; whoever only looks takes [Door.View], a
// value that the owner leaves behind after each step.
//
// An answer that comes too late is still heard: a latch that is found released without
// anybody being let in is secured again, and the record says so.
//
// The contact is a level that is sampled at the start and after each sign of
// change; no edge is counted, so a lost one costs nothing (F5).
//
// Moving the door never waits for the record: events go through a queue that
// writes them in order and tries again when the database fails. The way out
// depends on nothing but the driver.
package doors
