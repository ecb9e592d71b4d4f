package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"gardien/gateway"
)

// route is one line of the API: for the multiplexer and for OpenAPI.
type route struct {
	method, path, summary string
	open                  bool  // without authentication
	local                 bool  // on the Unix socket only
	limit                 int64 // of the body; 0: maxBody
	query                 []string
	request               any         // a value of the body's type
	responses             map[int]any // a value of each answer's type; nil: no content
	answer                func(*request) (Answer, error)
	stream                func(http.ResponseWriter, *request) error
}

func (s *Server) routes(sim Sim) []route {
	list := []route{
		{method: "GET", path: "/v1/info", summary: "The gateway's id and the API's version", open: true,
			responses: map[int]any{200: Info{}},
			answer:    func(*request) (Answer, error) { return reply(200, s.backend.Info()) }},
		{method: "GET", path: "/v1/openapi.json", summary: "This text", open: true, responses: map[int]any{200: map[string]any{}},
			answer: func(*request) (Answer, error) { return Answer{200, "application/json", s.openapi}, nil }},
		{method: "GET", path: "/v1/status", summary: "The gateway's condition", responses: map[int]any{200: Status{}}, answer: s.status},
		{method: "GET", path: "/v1/doors", summary: "All doors", responses: map[int]any{200: Doors{}},
			answer: func(*request) (Answer, error) { return reply(200, Doors{s.backend.Doors()}) }},
		{method: "GET", path: "/v1/doors/{door}", summary: "One door", responses: map[int]any{200: Door{}, 404: Problem{}}, answer: s.door},
		{method: "POST", path: "/v1/doors/{door}/attempts", summary: "Present a grant with its proof; or, as a resident, ask to be let in", open: true,
			request: AttemptRequest{}, responses: map[int]any{200: Granted{}, 403: Denied{}, 404: Problem{}}, answer: s.attempt},
		{method: "POST", path: "/v1/doors/{door}/veto", summary: "Say no to whoever knocks at the door (issuers with the policy knock)",
			responses: map[int]any{204: nil, 404: Problem{}, 409: Problem{}}, answer: s.veto},
		{method: "POST", path: "/v1/nonces", summary: "A nonce for one proof", open: true,
			responses: map[int]any{201: Nonce{}, 429: Problem{}}, answer: s.nonce},
		{method: "POST", path: "/v1/mailbag", summary: "Hand in grants and mailbox items, whoever carries them", open: true, limit: maxMailbag,
			request: mailbag{}, responses: map[int]any{200: MailbagResults{}}, answer: s.mailbag},
		{method: "POST", path: "/v1/pairing", summary: "Pair a resident's device while a pairing window is open", open: true,
			request: PairingRequest{}, responses: map[int]any{201: Paired{}, 403: Problem{}, 409: Problem{}}, answer: s.pair},
		{method: "POST", path: "/v1/pairing/window", summary: "Open a pairing window", local: true,
			responses: map[int]any{201: PairingWindow{}}, answer: s.openPairing},
	}
	list = append(list, s.grantRoutes()...)
	list = append(list, s.recordRoutes()...)
	list = append(list, s.houseRoutes()...)
	if sim != nil {
		list = append(list, simRoutes(sim)...)
	}
	return list
}

func (s *Server) grantRoutes() []route {
	return []route{
		{method: "GET", path: "/v1/grants", summary: "What is remembered of grants, by id", query: []string{"after", "limit"},
			responses: map[int]any{200: Grants{}}, answer: s.readers.inTurn(s.grants)},
		{method: "POST", path: "/v1/grants", summary: "Make a grant at home; its PIN is told this once",
			request: GrantRequest{}, responses: map[int]any{201: GrantMade{}, 404: Problem{}}, answer: s.makeGrant},
		{method: "GET", path: "/v1/grants/{id}", summary: "One grant; id is iss/jti, percent-encoded",
			responses: map[int]any{200: Grant{}, 404: Problem{}}, answer: s.grant},
		{method: "DELETE", path: "/v1/grants/{id}", summary: "Revoke a grant; a third party's is blocked here until a higher version",
			responses: map[int]any{204: nil, 404: Problem{}}, answer: s.revoke},
		{method: "GET", path: "/v1/grants/{id}/explanation", summary: "Every check with its verdict, at an instant", query: []string{"at", "door"},
			responses: map[int]any{200: Explanation{}, 404: Problem{}}, answer: s.explain},
	}
}

func (s *Server) recordRoutes() []route {
	return []route{
		{method: "GET", path: "/v1/events", summary: "The record, ascending", query: []string{"after", "limit"},
			responses: map[int]any{200: Events{}, 429: Problem{}}, answer: s.readers.inTurn(s.events)},
		{method: "GET", path: "/v1/events/stream", summary: "The record as it grows: text/event-stream, id is seq, event is \"event\"",
			query: []string{"after"}, responses: map[int]any{200: "", 429: Problem{}}, stream: s.streamEvents},
		{method: "GET", path: "/v1/events/verification", summary: "Verify the hash chain", responses: map[int]any{200: Verification{}, 429: Problem{}}, answer: s.verifiers.inTurn(s.verify)},
		{method: "POST", path: "/v1/events/forget", summary: "Forget what is personal about a reference; hashes stay",
			request: ForgetRequest{}, responses: map[int]any{200: Forgotten{}}, answer: s.forget},
	}
}

func (s *Server) houseRoutes() []route {
	nothing := map[int]any{204: nil}
	maybe := map[int]any{204: nil, 404: Problem{}}
	return []route{
		{method: "GET", path: "/v1/issuers", summary: "The third parties and their state", responses: map[int]any{200: Issuers{}}, answer: s.issuers},
		{method: "POST", path: "/v1/issuers/{id}/pause", summary: "Pause one third party", responses: maybe, answer: s.pauseIssuer(true)},
		{method: "POST", path: "/v1/issuers/{id}/resume", summary: "Resume it", responses: maybe, answer: s.pauseIssuer(false)},
		{method: "POST", path: "/v1/pause", summary: "Pause all third parties", responses: nothing, answer: s.pauseAll(true)},
		{method: "POST", path: "/v1/resume", summary: "Resume all third parties", responses: nothing, answer: s.pauseAll(false)},
		{method: "GET", path: "/v1/residents", summary: "The paired residents", responses: map[int]any{200: Residents{}}, answer: s.residents},
		{method: "DELETE", path: "/v1/residents/{id}", summary: "Remove a resident", responses: maybe, answer: s.removeResident},
		{method: "POST", path: "/v1/residents/{id}/duress", summary: "Make a resident's duress PIN: it opens and raises a silent event",
			request: DuressRequest{}, responses: map[int]any{201: GrantMade{}, 404: Problem{}}, answer: s.duress},
		{method: "GET", path: "/v1/descriptor", summary: "The gateway's signed descriptor, for an issuer", responses: map[int]any{200: Descriptor{}}, answer: s.descriptor},
		{method: "POST", path: "/v1/cloud/enrolment", summary: "Enrol at the configured cloud with a one-time code", local: true,
			request: CloudEnrolment{}, responses: map[int]any{200: CloudStatus{}, 409: Problem{}, 502: Problem{}}, answer: s.enrolInCloud},
		{method: "POST", path: "/v1/clock/confirm", summary: "A resident's word that the system's clock is right now",
			responses: map[int]any{200: StatusClock{}}, answer: s.confirmClock},
		{method: "GET", path: "/v1/backup", summary: "A copy of the database, without keys: application/vnd.sqlite3", local: true,
			responses: map[int]any{200: ""}, stream: s.backup},
		{method: "POST", path: "/v1/restore", summary: "Replace the database by a backup; limited grants from before become void", local: true,
			responses: map[int]any{204: nil, 400: Problem{}}, stream: s.restore},
	}
}

func simRoutes(sim Sim) []route {
	nothing := map[int]any{204: nil, 404: Problem{}}
	return []route{
		{method: "POST", path: "/v1/sim/contact", summary: "Move a simulated leaf", request: SimContact{}, responses: nothing, local: true,
			answer: simulate(sim.Contact)},
		{method: "POST", path: "/v1/sim/keys", summary: "Type at a simulated reader", request: SimKeys{}, responses: nothing, local: true,
			answer: simulate(sim.Keys)},
		{method: "POST", path: "/v1/sim/scan", summary: "Present a text at a simulated reader", request: SimScan{}, responses: nothing, local: true,
			answer: simulate(sim.Scan)},
		{method: "POST", path: "/v1/sim/rex", summary: "Press a simulated request to exit", request: SimREX{}, responses: nothing, local: true,
			answer: simulate(sim.REX)},
		{method: "POST", path: "/v1/sim/fault", summary: "Break or mend a simulated door", request: SimFault{}, responses: nothing, local: true,
			answer: simulate(sim.Fault)},
	}
}

func (s *Server) status(r *request) (Answer, error) {
	st, err := s.backend.Status(r.Context())
	if err != nil {
		return Answer{}, err
	}
	return reply(200, st)
}

func (s *Server) door(r *request) (Answer, error) {
	d, err := s.findDoor(r.PathValue("door"))
	if err != nil {
		return Answer{}, err
	}
	return reply(200, d)
}

func (s *Server) veto(r *request) (Answer, error) {
	d, err := s.findDoor(r.PathValue("door"))
	if err != nil {
		return Answer{}, err
	}
	return Answer{Status: 204}, s.backend.Veto(r.Context(), d.ID)
}

func (s *Server) findDoor(id string) (Door, error) {
	var ids []string
	for _, d := range s.backend.Doors() {
		if string(d.ID) == id {
			return d, nil
		}
		ids = append(ids, string(d.ID))
	}
	return Door{}, NotFound("door", id, ids)
}

// attempt judges a grant as that grant, whoever asks; {} is the resident's own wish.
func (s *Server) attempt(r *request) (Answer, error) {
	var req AttemptRequest
	if err := r.read(&req); err != nil {
		return Answer{}, err
	}
	var members map[string]json.RawMessage // a null is a member, too
	if json.Unmarshal(r.body, &members) != nil || members == nil {
		return Answer{}, Fail(http.StatusBadRequest, "bad-request", "the body is not a JSON object")
	}
	isGrant := len(members) > 0
	if !isGrant && !r.caller.known() {
		return Answer{}, Fail(http.StatusUnauthorized, "unauthorized", "present a grant with its proof, or a paired device's token")
	}
	d, err := s.findDoor(r.PathValue("door"))
	if err != nil && !r.caller.known() {
		err = Fail(http.StatusNotFound, "not-found", "no such door") // which there are is the residents' to know
	}
	if err != nil {
		return Answer{}, err
	}
	reader := gateway.ReaderApp
	var cred gateway.Credential = gateway.ResidentCredential{Resident: r.caller.Resident}
	if isGrant {
		reader, cred = gateway.ReaderLAN, gateway.GrantCredential{Text: secretOf(req.Grant), Proof: secretOf(req.Proof)}
	}
	granted, reason, err := s.backend.Attempt(r.Context(), d.ID, reader, cred)
	if err != nil {
		return Answer{}, err
	}
	if reason == "" {
		return reply(200, granted)
	}
	return denied(reason.Code())
}

func secretOf(s *string) gateway.Secret {
	if s == nil {
		return gateway.Secret{}
	}
	return gateway.NewSecret(*s)
}

// denialLength is the one length of every denial's body (A8).
const denialLength = 64

func denied(code gateway.DenialCode) (Answer, error) {
	a, err := reply(403, Denied{"denied", code})
	if err == nil {
		pad := strings.Repeat(" ", denialLength-len(a.Body))
		a.Body = append(a.Body[:len(a.Body)-1], pad+"\n"...)
	}
	return a, err
}

func (s *Server) nonce(r *request) (Answer, error) {
	addr, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		addr = r.RemoteAddr // the socket's clients have none
	}
	n, err := s.backend.Nonce(addr)
	if err != nil {
		return Answer{}, err
	}
	return reply(201, n)
}

func (s *Server) grants(r *request) (Answer, error) {
	limit, err := limitOf(r)
	if err != nil {
		return Answer{}, err
	}
	var after gateway.GrantID
	if q := r.URL.Query().Get("after"); q != "" {
		if after, err = gateway.ParseGrantID(q); err != nil {
			return Answer{}, Fail(http.StatusBadRequest, "bad-request", "%v", err)
		}
	}
	list, err := s.backend.Grants(r.Context(), after, limit)
	if err != nil {
		return Answer{}, err
	}
	page := Grants{Grants: list}
	if len(list) == limit {
		page.Next = list[len(list)-1].ID
	}
	return reply(200, page)
}

func limitOf(r *request) (int, error) {
	q := r.URL.Query().Get("limit")
	if q == "" {
		return 100, nil
	}
	n, err := strconv.Atoi(q)
	if err != nil || n < 1 || n > 1000 {
		return 0, Fail(http.StatusBadRequest, "bad-request", "limit: want 1 to 1000")
	}
	return n, nil
}

func (s *Server) makeGrant(r *request) (Answer, error) {
	var req GrantRequest
	if err := r.read(&req); err != nil {
		return Answer{}, err
	}
	switch {
	case len(req.Doors) == 0 || len(req.Doors) > 8:
		return Answer{}, Fail(http.StatusBadRequest, "bad-request", "doors: name 1 to 8 doors")
	case req.NotAfter == nil && req.Schedule == nil:
		return Answer{}, Fail(http.StatusBadRequest, "bad-request", "not_after: say when the grant ends, or give a schedule")
	case req.Uses != nil && (*req.Uses < 1 || *req.Uses > 1<<20):
		return Answer{}, Fail(http.StatusBadRequest, "bad-request", "uses: want a number from 1 on, or leave it out")
	}
	if req.Schedule != nil {
		if err := req.Schedule.Validate(); err != nil {
			return Answer{}, Fail(http.StatusBadRequest, "bad-request", "schedule: %v", err)
		}
	}
	for _, d := range req.Doors {
		if _, err := s.findDoor(string(d)); err != nil {
			return Answer{}, err
		}
	}
	made, err := s.backend.MakeGrant(r.Context(), req)
	if err != nil {
		return Answer{}, err
	}
	return reply(201, made)
}

func grantID(r *request) (gateway.GrantID, error) {
	id, err := gateway.ParseGrantID(r.PathValue("id"))
	if err != nil {
		return id, Fail(http.StatusNotFound, "not-found", "%v", err)
	}
	return id, nil
}

func (s *Server) grant(r *request) (Answer, error) {
	id, err := grantID(r)
	if err != nil {
		return Answer{}, err
	}
	g, err := s.backend.Grant(r.Context(), id)
	if err != nil {
		return Answer{}, err
	}
	return reply(200, g)
}

func (s *Server) revoke(r *request) (Answer, error) {
	id, err := grantID(r)
	if err != nil {
		return Answer{}, err
	}
	return Answer{Status: 204}, s.backend.RevokeGrant(r.Context(), id)
}

func (s *Server) explain(r *request) (Answer, error) {
	id, err := grantID(r)
	if err != nil {
		return Answer{}, err
	}
	var at time.Time
	if q := r.URL.Query().Get("at"); q != "" {
		if at, err = time.Parse(time.RFC3339, q); err != nil {
			return Answer{}, Fail(http.StatusBadRequest, "bad-request", "at: want RFC 3339, as in 2026-11-23T09:41:00+01:00")
		}
	}
	door := r.URL.Query().Get("door")
	if door != "" {
		if _, err := s.findDoor(door); err != nil {
			return Answer{}, err
		}
	}
	x, err := s.backend.Explain(r.Context(), id, gateway.DoorID(door), at)
	if err != nil {
		return Answer{}, err
	}
	return reply(200, x)
}

// mailbag is its request's body: items, or bare grants as strings.
type mailbag struct {
	Items []json.RawMessage `json:"items"`
}

func (s *Server) mailbag(r *request) (Answer, error) {
	var bag mailbag
	if err := r.read(&bag); err != nil {
		return Answer{}, err
	}
	if len(bag.Items) > 1000 {
		return Answer{}, Fail(http.StatusBadRequest, "bad-request", "items: at most 1000")
	}
	items := make([]MailbagItem, len(bag.Items))
	for i, raw := range bag.Items {
		if json.Unmarshal(raw, &items[i].Body) == nil {
			items[i].Kind = "grant"
			continue
		}
		// Unknown members of an item are somebody's future: they are ignored. An item that
		// is none is rejected by itself and blocks no other (N7).
		if err := json.Unmarshal(raw, &items[i]); err != nil {
			items[i] = MailbagItem{}
		}
	}
	results := []MailbagResult{}
	for _, item := range items {
		res, err := s.backend.Take(r.Context(), item)
		if err != nil {
			return Answer{}, err
		}
		results = append(results, res)
	}
	return reply(200, MailbagResults{results})
}

func (s *Server) enrolInCloud(r *request) (Answer, error) {
	var req CloudEnrolment
	if err := r.read(&req); err != nil {
		return Answer{}, err
	}
	st, err := s.backend.EnrolInCloud(r.Context(), req)
	if err != nil {
		return Answer{}, err
	}
	return reply(200, st)
}

func (s *Server) pair(r *request) (Answer, error) {
	var req PairingRequest
	if err := r.read(&req); err != nil {
		return Answer{}, err
	}
	p, err := s.backend.Pair(r.Context(), req)
	if err != nil {
		return Answer{}, err
	}
	return reply(201, p)
}

func (s *Server) openPairing(r *request) (Answer, error) {
	p, err := s.backend.OpenPairing(r.Context())
	if err != nil {
		return Answer{}, err
	}
	return reply(201, p)
}

func (s *Server) verify(r *request) (Answer, error) {
	v, err := s.backend.Verify(r.Context())
	if err != nil {
		return Answer{}, err
	}
	return reply(200, v)
}

func (s *Server) forget(r *request) (Answer, error) {
	var req ForgetRequest
	if err := r.read(&req); err != nil {
		return Answer{}, err
	}
	if req.Ref == "" {
		return Answer{}, Fail(http.StatusBadRequest, "bad-request", "ref: name a sub, an issuer/jti or a resident's id")
	}
	n, err := s.backend.Forget(r.Context(), req.Ref)
	if err != nil {
		return Answer{}, err
	}
	return reply(200, Forgotten{n})
}

func (s *Server) issuers(r *request) (Answer, error) {
	list, err := s.backend.Issuers(r.Context())
	if err != nil {
		return Answer{}, err
	}
	return reply(200, Issuers{list})
}

func (s *Server) pauseIssuer(paused bool) func(*request) (Answer, error) {
	return func(r *request) (Answer, error) {
		return Answer{Status: 204}, s.backend.PauseIssuer(r.Context(), gateway.IssuerID(r.PathValue("id")), paused)
	}
}

func (s *Server) pauseAll(paused bool) func(*request) (Answer, error) {
	return func(r *request) (Answer, error) { return Answer{Status: 204}, s.backend.PauseAll(r.Context(), paused) }
}

func (s *Server) residents(r *request) (Answer, error) {
	list, err := s.backend.Residents(r.Context())
	if err != nil {
		return Answer{}, err
	}
	return reply(200, Residents{list})
}

func (s *Server) removeResident(r *request) (Answer, error) {
	return Answer{Status: 204}, s.backend.RemoveResident(r.Context(), gateway.ResidentID(r.PathValue("id")))
}

func (s *Server) duress(r *request) (Answer, error) {
	var req DuressRequest
	if err := r.read(&req); err != nil {
		return Answer{}, err
	}
	for _, d := range req.Doors {
		if _, err := s.findDoor(string(d)); err != nil {
			return Answer{}, err
		}
	}
	made, err := s.backend.Duress(r.Context(), gateway.ResidentID(r.PathValue("id")), req)
	if err != nil {
		return Answer{}, err
	}
	return reply(201, made)
}

func (s *Server) descriptor(r *request) (Answer, error) {
	d, err := s.backend.Descriptor(r.Context())
	if err != nil {
		return Answer{}, err
	}
	return reply(200, d)
}

func (s *Server) confirmClock(r *request) (Answer, error) {
	c, err := s.backend.ConfirmClock(r.Context())
	if err != nil {
		return Answer{}, err
	}
	return reply(200, c)
}

// simulate reads the arguments and answers when all is recorded.
func simulate[T any](move func(ctx context.Context, v T) error) func(*request) (Answer, error) {
	return func(r *request) (Answer, error) {
		var v T
		if err := r.read(&v); err != nil {
			return Answer{}, err
		}
		if err := move(r.Context(), v); err != nil {
			return Answer{}, fmt.Errorf("%w", err)
		}
		return Answer{Status: 204}, nil
	}
}
