// Package wallclock says what time it is, and whether to believe it. A Pi has no
// clock of its own: after a power cut the system's time is a guess until the
// network answers, and a gateway that believes the guess keeps expired grants
// alive.
//
// Now is an interval (T1). Its lower end never falls below a floor that is
// persisted with every decision and every ten minutes (T3). Its width depends on
// evidence that something synchronised the system's clock in this boot: the
// mtime of systemd-timesyncd's "synchronized" file, or chronyd's last reference
// time (T2; the kernel's STA_UNSYNC rises hours late and is no evidence). From
// the last sync on the interval widens by 100 ppm for at most 30 days; a clock
// that steps against CLOCK_BOOTTIME is not believed until it is confirmed (T4).
// Confirmation is a sync, a battery-backed RTC, or a resident's word (T5).
//
// What an issuer says of the time moves nothing here: a wrong date of one would be
// believed for all (T3). What cannot be undone, such as wiping a PIN or keeping to
// the retention, waits for time that has stood for a day (I6, Reading.Settled).
//
// Nothing here sets a clock, and nothing in a shipped binary moves this one.
package wallclock
