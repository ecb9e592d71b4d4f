// Package certs is what a browser in the house believes the gateway by: a certificate
// authority of this house, and the certificate of the web server, the leaf (contract §5, W6).
//
// # What the CA can do
//
// Whoever installs the CA on a phone should not have to trust the gateway with more than its
// own page. So the CA may vouch for one DNS name (critical name constraints, RFC 5280
// §4.2.1.10), for no IP address, for web servers only (extKeyUsage serverAuth), and for no
// other CA (pathlen 0). A stolen CA key can impersonate the page of this gateway, and nothing
// else. Browsers apply RFC 5280 as they see fit: chromium_test.go asks Chromium.
//
// # What lasts
//
//	house-ca.key  house-ca.pem   for life: a phone trusts the certificate
//	leaf.key                     for life: the fingerprint in the QR code is its hash
//	leaf.pem                     at most 397 days, replaced by itself
//
// All are PEM with mode 0600, the keys PKCS#8 on P-256. Each is there whole after a power cut,
// or not at all. The leaf is kept so that a restart does not change it: a browser remembers
// an exception for one certificate.
//
// The first start writes house-ca.key, leaf.key, house-ca.pem and leaf.pem, in this order, and
// shows nothing to anybody before the first three are on the disk. So these rules are enough:
//
//   - Neither house-ca.pem nor leaf.pem is there: the first start was cut short, or never was. Keys
//     that are there are used, the others are made.
//   - house-ca.pem is there: the house is complete. A missing or spoilt key is an error, for
//     nobody but the owner can decide to become another house.
//   - leaf.pem is there without house-ca.pem: the same error.
//   - leaf.pem is missing, spoilt, or not of these keys: it is issued anew.
//
// A disk that takes no writes keeps a first start from happening: what nobody could keep must not
// be trusted. After that it keeps nothing away: the leaf lives in memory until the next start.
//
// # What time it is
//
// A certificate has dates and a Raspberry Pi has no clock, so no date is the wall clock's.
// A certificate begins one day before the earliest possible now, and the leaf is issued anew
// once two thirds of its life are surely over. Each handshake looks. A handshake always gets a
// certificate, the best that can be had. One that is surely not valid yet, since the clock was
// once far ahead (T3), is made anew, and so is such a CA: no phone whose clock is right has ever
// believed it. The keys stay.
package certs
