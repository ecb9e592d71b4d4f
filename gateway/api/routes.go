package api

import (
	"gardien/gateway"
	"gardien/gateway/web"
	"net/http"
)

// route is one line of the API. It has answer or stream.
type route struct {
	web.Route
	may   who   // call it; the console may, in any case
	wish  who   // may call it with a request that presents no grant and no proof, where may is anybody; 0: no difference
	limit int64 // of the body; 0: maxBody
	fresh bool  // it is answered anew each time: Idempotency-Keys are ignored

	answer func(*request) (Answer, error)
	stream func(http.ResponseWriter, *request) error
}

func (s *Server) routes(sim Sim) []route {
	list := []route{
		{may: anybody, Route: web.Route{Method: "GET", Path: "/v1/info", Summary: "The gateway's id and the API's version",
			Responses: map[int]any{200: Info{}}}, answer: func(*request) (Answer, error) { return reply(200, s.backend.Upkeep.Info()) }},
		{may: anybody, Route: web.Route{Method: "GET", Path: "/v1/openapi.json", Summary: "This text",
			Responses: map[int]any{200: map[string]any{}}}, answer: func(*request) (Answer, error) {
			return Answer{Status: 200, Type: "application/json", Body: s.openapi}, nil
		}},
		{may: residents | installers, Route: web.Route{Method: "GET", Path: "/v1/status", Summary: "The gateway's condition",
			Responses: map[int]any{200: Status{}}}, answer: s.status},
		{may: paired, Route: web.Route{Method: "GET", Path: "/v1/doors", Summary: "All doors",
			Responses: map[int]any{200: Doors{}}}, answer: func(r *request) (Answer, error) { return listDoors(s.backend.Doors, r) }},
		{may: paired, Route: web.Route{Method: "GET", Path: "/v1/doors/{door}", Summary: "One door",
			Responses: map[int]any{200: Door{}, 404: gateway.Problem{}}}, answer: s.door},
		{may: anybody, Route: web.Route{Method: "POST", Path: "/v1/doors/{door}/attempts", Summary: "Present a grant with its proof; or, as a resident, ask to be let in",
			Request: AttemptRequest{}, Responses: map[int]any{200: Granted{}, 202: Pending{}, 403: Denied{}, 404: gateway.Problem{}}}, wish: doorUsers, answer: s.attempt},
		{may: residents, Route: web.Route{Method: "POST", Path: "/v1/doors/{door}/veto", Summary: "Say no to whoever knocks at the door (issuers with the policy knock)",
			Responses: map[int]any{204: nil, 404: gateway.Problem{}, 409: gateway.Problem{}}}, answer: s.veto},
		{may: residents, Route: web.Route{Method: "POST", Path: "/v1/readers/{reader}/lift", Summary: "End the lock-out of a reader and the pause of third parties' PINs and cards there",
			Responses: map[int]any{204: nil, 404: gateway.Problem{}}}, answer: lift(s.backend.Doors)},
		{may: anybody, Route: web.Route{Method: "POST", Path: "/v1/nonces", Summary: "A nonce for one proof",
			Responses: map[int]any{201: Nonce{}, 429: gateway.Problem{}}}, answer: s.nonce},
		{may: anybody, Route: web.Route{Method: "POST", Path: "/v1/mailbag", Summary: "Hand in grants and mailbox items, whoever carries them",
			Request: mailbag{}, Responses: map[int]any{200: MailbagResults{}}}, limit: maxMailbag, answer: s.mailbag},
	}
	list = append(list, attempts{s.backend.Attempts, s.stop}.routes()...)
	list = append(list, s.grantRoutes()...)
	list = append(list, visitRoutes(s)...)
	list = append(list, s.recordRoutes()...)
	list = append(list, s.houseRoutes()...)
	list = append(list, sessions{s.backend}.routes()...)
	list = append(list, receipts{s}.routes()...)
	list = append(list, healths{s.backend.Health}.routes()...)
	if sim != nil {
		list = append(list, simRoutes(sim)...)
	}
	for _, rt := range list {
		if _, ok := rt.Responses[http.StatusNoContent]; ok && rt.answer != nil {
			rt.Responses[http.StatusOK] = Done{}
		}
	}
	return list
}

func (s *Server) grantRoutes() []route {
	return []route{
		{may: residents, Route: web.Route{Method: "GET", Path: "/v1/grants", Summary: "What is remembered of grants, by id", Query: []string{"after", "limit"},
			Responses: map[int]any{200: Grants{}}}, answer: s.inTurn(s.readers, s.grants)},
		{may: residents, Route: web.Route{Method: "POST", Path: "/v1/grants", Summary: "Make a grant at home; its PIN is told this once",
			Request: GrantRequest{}, Responses: map[int]any{201: GrantMade{}, 404: gateway.Problem{}}}, answer: s.makeGrant},
		{may: residents, Route: web.Route{Method: "GET", Path: "/v1/grants/{id}", Summary: "One grant; id is iss/jti, percent-encoded",
			Responses: map[int]any{200: Grant{}, 404: gateway.Problem{}}}, answer: s.grant},
		{may: residents, Route: web.Route{Method: "DELETE", Path: "/v1/grants/{id}", Summary: "Revoke a grant; a third party's is blocked here until a higher version",
			Responses: map[int]any{204: nil, 404: gateway.Problem{}}}, answer: s.revoke},
		{may: residents, Route: web.Route{Method: "GET", Path: "/v1/grants/{id}/explanation", Summary: "Every check with its verdict, at an instant", Query: []string{"at", "door"},
			Responses: map[int]any{200: Explanation{}, 404: gateway.Problem{}}}, answer: s.explain},
	}
}

func (s *Server) recordRoutes() []route {
	return []route{
		{may: doorUsers, Route: web.Route{Method: "GET", Path: "/v1/events", Summary: "The record, ascending", Query: []string{"after", "limit"},
			Responses: map[int]any{200: Events{}, 429: gateway.Problem{}}}, answer: s.inTurn(s.readers, s.events)},
		{may: doorUsers, Route: web.Route{Method: "GET", Path: "/v1/events/stream", Summary: "The record as it grows: text/event-stream, id is seq, event is \"event\"", Query: []string{"after"},
			Responses: map[int]any{200: web.Kinds{web.EventStream: nil}, 429: gateway.Problem{}}}, stream: s.streamEvents},
		{may: residents, Route: web.Route{Method: "GET", Path: "/v1/events/verification", Summary: "Verify the hash chain",
			Responses: map[int]any{200: Verification{}, 429: gateway.Problem{}}}, answer: s.inTurn(s.verifiers, s.verify)},
		{may: residents, Route: web.Route{Method: "POST", Path: "/v1/events/forget", Summary: "Forget what is personal about a reference; hashes stay",
			Request: ForgetRequest{}, Responses: map[int]any{200: Forgotten{}}}, answer: s.forget},
	}
}

func (s *Server) houseRoutes() []route {
	nothing := map[int]any{204: nil}
	maybe := map[int]any{204: nil, 404: gateway.Problem{}}
	return []route{
		{may: residents, Route: web.Route{Method: "GET", Path: "/v1/issuers", Summary: "The third parties and their state",
			Responses: map[int]any{200: Issuers{}}}, answer: s.issuers},
		{may: residents, Route: web.Route{Method: "POST", Path: "/v1/issuers/{id}/pause", Summary: "Pause one third party, until a time or until it is resumed",
			Request: IssuerPauseRequest{}, Responses: maybe}, answer: s.pauseIssuer(issuersPause)},
		{may: residents, Route: web.Route{Method: "POST", Path: "/v1/issuers/{id}/resume", Summary: "Resume it",
			Responses: maybe}, answer: s.pauseIssuer(ends)},
		{may: residents, Route: web.Route{Method: "POST", Path: "/v1/pause", Summary: "Pause all third parties, and with home the grants made at home: a vacation",
			Request: PauseRequest{}, Responses: nothing}, answer: s.pauseAll(housePause)},
		{may: residents, Route: web.Route{Method: "POST", Path: "/v1/resume", Summary: "End the pause of all third parties, or the vacation, be it planned or not",
			Responses: nothing}, answer: s.pauseAll(ends)},
		{may: residents, Route: web.Route{Method: "GET", Path: "/v1/residents", Summary: "The paired devices, and those that wait to be confirmed",
			Responses: map[int]any{200: Residents{}}}, answer: s.residents},
		{may: residents, Route: web.Route{Method: "DELETE", Path: "/v1/residents/{id}", Summary: "Remove a device; the last resident is removed at the gateway only",
			Responses: map[int]any{204: nil, 404: gateway.Problem{}, 409: gateway.Problem{}}}, answer: s.removeResident},
		{may: residents, Route: web.Route{Method: "POST", Path: "/v1/residents/{id}/confirm", Summary: "Confirm a device that has paired, or that came back with a backup",
			Responses: maybe}, answer: func(r *request) (Answer, error) {
			return Answer{Status: 204}, s.backend.Residents.Confirm(r.Context(), gateway.ResidentID(r.PathValue("id")))
		}},
		{may: residents, Route: web.Route{Method: "POST", Path: "/v1/residents/{id}/duress", Summary: "Make a resident's duress PIN: it opens and raises a silent event",
			Request: DuressRequest{}, Responses: map[int]any{201: GrantMade{}, 404: gateway.Problem{}}}, answer: s.duress},
		{may: residents, Route: web.Route{Method: "GET", Path: "/v1/descriptor", Summary: "The gateway's signed descriptor, for an issuer",
			Responses: map[int]any{200: Descriptor{}}}, answer: s.descriptor},
		{may: console, Route: web.Route{Method: "POST", Path: "/v1/cloud/enrolment", Summary: "Enrol at the configured cloud with a one-time code",
			Request: CloudEnrolment{}, Responses: map[int]any{200: CloudStatus{}, 409: gateway.Problem{}, 502: gateway.Problem{}}}, answer: s.enrolInCloud},
		{may: residents, Route: web.Route{Method: "POST", Path: "/v1/clock/confirm", Summary: "A resident's word that the system's clock is right now",
			Responses: map[int]any{200: StatusClock{}}}, answer: s.confirmClock},
		{may: console, Route: web.Route{Method: "GET", Path: "/v1/backup", Summary: "A copy of the database, without keys: application/vnd.sqlite3",
			Responses: map[int]any{200: web.Kinds{databaseType: nil}, 409: gateway.Problem{}}}, stream: s.backup},
		{may: console, Route: web.Route{Method: "POST", Path: "/v1/restore", Summary: "Replace the database by a backup; limited grants from before become void",
			Responses: map[int]any{204: nil, 400: gateway.Problem{}, 409: gateway.Problem{}}}, stream: s.restore},
	}
}

func (s sessions) routes() []route {
	return []route{
		{may: anybody, Route: web.Route{Method: "POST", Path: "/v1/pairing", Summary: "Pair a device while a pairing window is open, or move a session to another key",
			Request: PairingRequest{}, Responses: map[int]any{201: Paired{}, 403: gateway.Problem{}, 409: gateway.Problem{}}}, fresh: true, answer: s.pair},
		{may: console, Route: web.Route{Method: "POST", Path: "/v1/pairing/window", Summary: "Open a pairing window for one device of a role",
			Request: PairingWindowRequest{}, Responses: map[int]any{201: PairingWindow{}}}, answer: s.openPairing},
		{may: console, Route: web.Route{Method: "GET", Path: "/v1/pairing/window", Summary: "The pairing window, at once or when a device has paired", Query: []string{"wait", "id"},
			Responses: map[int]any{200: PairingState{}}}, answer: s.awaitPairing},
		{may: console, Route: web.Route{Method: "DELETE", Path: "/v1/pairing/window", Summary: "Close the pairing window, and drop who waits to be confirmed", Query: []string{"id"},
			Responses: map[int]any{204: nil}}, answer: s.closePairing},
		{may: paired | newcomers, Route: web.Route{Method: "GET", Path: "/v1/session", Summary: "Who asks",
			Responses: map[int]any{200: Session{}}}, answer: s.session},
		{may: paired | newcomers, Route: web.Route{Method: "DELETE", Path: "/v1/session", Summary: "End the session: the device is removed",
			Responses: map[int]any{204: nil, 409: gateway.Problem{}}}, answer: s.endSession},
		{may: paired, Route: web.Route{Method: "POST", Path: "/v1/session/move", Summary: "A code by which the session moves to another key, as that of an icon on the home screen",
			Responses: map[int]any{201: SessionMove{}}}, fresh: true, answer: s.moveSession},
		{may: anybody, Route: web.Route{Method: "GET", Path: "/ca.crt", Summary: "The certificate of the house CA (DER): compare its fingerprint with \"gardien ca show\"",
			Responses: map[int]any{200: web.Kinds{certificateType: nil}}}, answer: s.certificate(certificateType)},
		{may: anybody, Route: web.Route{Method: "GET", Path: "/ca.mobileconfig", Summary: "The same as a profile for Apple's devices",
			Responses: map[int]any{200: web.Kinds{profileType: nil}}}, answer: s.certificate(profileType)},
	}
}

func simRoutes(sim Sim) []route {
	nothing := map[int]any{204: nil, 404: gateway.Problem{}}
	return []route{
		{may: console, Route: web.Route{Method: "POST", Path: "/v1/sim/contact", Summary: "Move a simulated leaf",
			Request: SimContact{}, Responses: nothing}, answer: simulate(sim.Contact)},
		{may: console, Route: web.Route{Method: "POST", Path: "/v1/sim/keys", Summary: "Type at a simulated reader",
			Request: SimKeys{}, Responses: nothing}, answer: simulate(sim.Keys)},
		{may: console, Route: web.Route{Method: "POST", Path: "/v1/sim/scan", Summary: "Present a text at a simulated reader",
			Request: SimScan{}, Responses: nothing}, answer: simulate(sim.Scan)},
		{may: console, Route: web.Route{Method: "POST", Path: "/v1/sim/rex", Summary: "Press a simulated request to exit",
			Request: SimREX{}, Responses: nothing}, answer: simulate(sim.REX)},
		{may: console, Route: web.Route{Method: "POST", Path: "/v1/sim/fault", Summary: "Break or mend a simulated door",
			Request: SimFault{}, Responses: nothing}, answer: simulate(sim.Fault)},
	}
}
