package api

import (
	"context"
	"net/http"

	"gardien/gateway"
	"gardien/gateway/web"
)

// ReceiptService is what the gateway says in writing of entries that are over.
type ReceiptService interface {
	// Holds reports whether a proof is by the key of the grant that an attempt was let in by. It
	// spends the proof's nonce.
	Holds(ctx context.Context, attempt gateway.AttemptID, proof gateway.Secret) (bool, error)
	// Receipt signs the receipt of an entry; false: there is none, or it is not over.
	Receipt(ctx context.Context, attempt gateway.AttemptID) (text string, found bool, err error)
}

// Receipt is a receipt, as a JWS.
type Receipt struct {
	Receipt string `json:"receipt"`
}

// proofHeader has the proof of whoever asks as a grant's holder.
const proofHeader = "Gardien-Proof"

// presents reports whether a request brings a credential of its own, so that it is judged by that
// alone, whoever sends it: a grant in the body, or a proof in the header where there is no body.
func (rt *route) presents(r *http.Request, body []byte) bool {
	if rt.Method == http.MethodGet {
		return len(r.Header.Values(proofHeader)) > 0
	}
	return presentsGrant(body)
}

// receipts serves them.
type receipts struct{ *Server }

func (s receipts) routes() []route {
	return []route{
		{may: anybody, wish: residents, Route: web.Route{Method: "GET", Path: "/v1/attempts/{id}/receipt",
			Summary: "The gateway's signed word on how an entry ended, for a resident, or with a proof by the grant's key", Headers: []string{proofHeader},
			Note:      "Without a proof it needs the role resident.",
			Responses: map[int]any{200: Receipt{}, 404: gateway.Problem{}, 429: gateway.Problem{}}}, answer: s.receipt},
	}
}

// receipt is answered alike whatever is wrong with the attempt, the proof or both (I1).
func (s receipts) receipt(r *request) (Answer, error) {
	attempt := gateway.AttemptID(r.PathValue("id"))
	none := Fail(http.StatusNotFound, "not-found", "there is no receipt of this attempt: it let nobody in, the entry is not over, or the record does not go back so far")
	waiting, who := s.browsers, string(r.caller.Resident)
	if proofs := r.Header.Values(proofHeader); len(proofs) > 0 {
		if len(proofs) > 1 {
			return Answer{}, none
		}
		holds, err := s.backend.Receipts.Holds(r.Context(), attempt, gateway.NewSecret(proofs[0]))
		if err != nil {
			return Answer{}, err
		}
		if !holds {
			return Answer{}, none
		}
		waiting, who = s.holders, carrierOf(r.Request)
	}
	leave, err := take(r.Context(), waiting, s.readers, who)
	if err != nil {
		return Answer{}, err
	}
	defer leave()
	text, found, err := s.backend.Receipts.Receipt(r.Context(), attempt)
	if err != nil {
		return Answer{}, err
	}
	if !found {
		return Answer{}, none
	}
	return reply(200, Receipt{text})
}
