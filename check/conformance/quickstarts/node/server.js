const http = require("node:http");
const greeting = require("greeting");

const port = process.env.PORT || 3000;
const server = http.createServer((request, response) => {
  response.setHeader("content-type", "text/plain");
  response.end(greeting("Node"));
});
server.listen(port, () => console.log(`listening on ${port}`));
process.on("SIGINT", () => server.close(() => process.exit(0)));
