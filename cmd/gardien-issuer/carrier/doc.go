// Package carrier is what a carrier does: it keeps keys and what it has issued in a folder, signs,
// seals and sends grants, revocations, commands and manifests, rotates its key, and reads what
// became of them. The command gardien-issuer puts flags and words around it; the demo and tests
// use it as any carrier's own program may.
package carrier
