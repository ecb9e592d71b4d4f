package api

import (
	"net/http"
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
			answer:    func(*request) (Answer, error) { return reply(200, s.backend.Upkeep.Info()) }},
		{method: "GET", path: "/v1/openapi.json", summary: "This text", open: true, responses: map[int]any{200: map[string]any{}},
			answer: func(*request) (Answer, error) { return Answer{200, "application/json", s.openapi}, nil }},
		{method: "GET", path: "/v1/status", summary: "The gateway's condition", responses: map[int]any{200: Status{}}, answer: s.status},
		{method: "GET", path: "/v1/doors", summary: "All doors", responses: map[int]any{200: Doors{}},
			answer: func(*request) (Answer, error) { return reply(200, Doors{s.backend.Doors.List()}) }},
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
