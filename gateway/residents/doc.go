// Package residents is who lives here: devices that pair while a window is open, their tokens and
// keys, what each may do, and what was answered to their requests, so that a retry is answered as
// the first time.
//
//   - pairing.go: a window of five minutes for one device (W5), opened by whoever is at the gateway
//     or presses its button. Who has paired waits, in memory only, for the console's word or a
//     confirmed resident's. A code moves a resident's access to another key.
//   - residents.go: whose token this is, who is confirmed, who is removed.
//   - proofs.go: acts of a device that has a key carry a proof of it (RFC 9449): nonces that nobody
//     has to remember, and proofs that are good once.
//   - answers.go: remembered answers.
//
// A token is "ID.TEXT"; the memory has its keyed hash, so that nobody who reads the database can
// act as a resident. An answer may hold a PIN, so it is kept encrypted under the device key, for a
// day.
//
// The room knows neither network nor database: [Memory] is what it needs of one, and errors
// are values that the API turns into its words.
package residents
