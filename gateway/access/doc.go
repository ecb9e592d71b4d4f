// Package access is the one place that says yes or no.
//
// [Judge] is the rule: a pure function of [Facts] that gives every check with its
// verdict, in the order of contract §8; the first that fails is the reason. The
// same list, made for another instant, is what explain shows.
//
// [Controller] is the path around the rule (A1): whatever is presented, a PIN, a
// scanned grant, a grant with a proof from the LAN, becomes a grant record, is
// judged inside one durable transaction that also spends it and writes the intent,
// and only then is the strike released. A denial is a result. An error of the
// database or the clock ends closed. Nothing here does network I/O (A10).
//
// Refusals cost little (D6): a wrong PIN or unknown card is durable, for it counts against
// its reader; other refusals share a budget of fsyncs and, beyond forty an hour, are
// written as counts.
package access
