// Package residents is who lives here: devices that pair while a window is open, their tokens,
// and what was answered to their requests, so that a retry is answered as the first time.
//
// A window is opened by whoever is at the gateway, for five minutes and one device; ten wrong
// secrets end it (W5). A token is "ID.TEXT"; the memory has its keyed hash, so that nobody who
// reads the database can act as a resident. An answer may hold a PIN, so it is kept encrypted
// under the device key, for a day.
//
// The room knows neither network nor database: [Memory] is what it needs of one, and errors
// are values that the API turns into its words.
package residents
