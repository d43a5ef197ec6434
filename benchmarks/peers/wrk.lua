-- Sends one request repeatedly: wrk -s wrk.lua URL -- BODY_FILE ["Name: value" ...].
-- Prints one line of JSON at the end; times in microseconds.

function init(arguments)
   local file = assert(io.open(arguments[1], "rb"))
   wrk.method = "POST"
   wrk.body = file:read("*a")
   file:close()
   for place = 2, #arguments do
      local name, value = arguments[place]:match("^([^:]+): (.*)$")
      wrk.headers[name] = value
   end
end

function done(summary, latency, requests)
   local failed = summary.errors
   print(string.format(
      '{"requests": %d, "duration": %d, "socket_errors": %d, "status_errors": %d, "p50": %d, "p99": %d}',
      summary.requests, summary.duration,
      failed.connect + failed.read + failed.write + failed.timeout, failed.status,
      latency:percentile(50), latency:percentile(99)
   ))
end
