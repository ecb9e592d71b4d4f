package residents

// Used counts the proofs that are remembered.
func (r *Residents) Used() int {
	r.proofs.mu.Lock()
	defer r.proofs.mu.Unlock()
	return len(r.proofs.used[0]) + len(r.proofs.used[1])
}
