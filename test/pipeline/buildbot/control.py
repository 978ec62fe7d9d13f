"""For a master.cfg in tests: Buildbot's data interface over HTTP on the loopback. Debian has no buildbot-www."""

import json
from collections import UserList

from buildbot.util.service import BuildbotService
from twisted.internet import defer
from twisted.web import resource, server


def plain(value):
    """Lists of results are no lists, and times are no text."""
    return list(value) if isinstance(value, UserList) else str(value)


class Data(resource.Resource):
    isLeaf = True

    def __init__(self, master):
        super().__init__()
        self.master = master

    def _answer(self, request, deferred):
        def finish(result):
            request.write(json.dumps(result, default=plain).encode())
            request.finish()

        deferred.addErrback(lambda failure: {"failure": failure.getTraceback()})
        deferred.addCallback(finish)
        return server.NOT_DONE_YET

    def _path(self, request):
        return tuple(part.decode() for part in request.postpath)

    def render_GET(self, request):
        return self._answer(request, defer.maybeDeferred(self.master.data.get, self._path(request)))

    def render_POST(self, request):
        action, *path = self._path(request)
        arguments = json.loads(request.content.read())
        return self._answer(
            request, defer.maybeDeferred(self.master.data.control, action, arguments, tuple(path))
        )


class Control(BuildbotService):
    """Listens on a port of the system's choice, which it writes into a file."""

    name = "control"
    listening = None

    @defer.inlineCallbacks
    def reconfigService(self, port_file):
        yield super().reconfigService()
        if self.listening is None:
            site = server.Site(Data(self.master))
            self.listening = self.master.reactor.listenTCP(0, site, interface="127.0.0.1")
            with open(port_file, "w", encoding="utf-8") as file:
                file.write(str(self.listening.getHost().port))
