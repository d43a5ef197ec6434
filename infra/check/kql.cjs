// Checks KQL with Microsoft's own language service: node kql.cjs FOLDER FILE... where FOLDER has node_modules, and each
// FILE is one query (.kql) or a page with queries (.md). A page's block of only "let" may precede any of its queries, so
// they are checked with and without it. Prints each mistake with its place, and ends with 1 if there is one.
"use strict";

const fs = require("fs");
const path = require("path");
const vm = require("vm");

// The columns that the queries use, with their types: AppRequests and AppTraces as in Microsoft's table reference, and
// requests and traces as Application Insights names the same.
const TABLES = {
  requests:
    "timestamp: datetime, name: string, success: string, resultCode: string, duration: real, itemCount: int, " +
    "operation_Id: string, operation_Name: string, cloud_RoleInstance: string, customDimensions: dynamic",
  traces:
    "timestamp: datetime, message: string, severityLevel: int, itemCount: int, operation_Id: string, " +
    "operation_Name: string, cloud_RoleInstance: string, customDimensions: dynamic",
  AppRequests:
    "TimeGenerated: datetime, Name: string, Success: bool, ResultCode: string, DurationMs: real, ItemCount: int, " +
    "OperationId: string, OperationName: string, AppRoleInstance: string, Properties: dynamic",
  AppTraces:
    "TimeGenerated: datetime, Message: string, SeverityLevel: int, ItemCount: int, OperationId: string, " +
    "OperationName: string, AppRoleInstance: string, Properties: dynamic",
};

// The language service is made for browsers: two scripts that set global names.
function languageService(folder) {
  const home = path.join(folder, "node_modules/@kusto/language-service-next");
  for (const script of ["bridge.min.js", "Kusto.Language.Bridge.min.js"]) {
    vm.runInThisContext(fs.readFileSync(path.join(home, script), "utf8"), { filename: script });
  }
  return globalThis.Kusto.Language;
}

function withTables(language) {
  const { TableSymbol } = language.Symbols;
  const tables = Object.entries(TABLES).map(([name, columns]) => TableSymbol.From(`(${columns})`).WithName(name));
  const database = new language.Symbols.DatabaseSymbol.$ctor1("logs", tables);
  return language.GlobalState.Default.WithDatabase(database);
}

// Gives [first line, query] for each query of a file.
function queries(file) {
  const text = fs.readFileSync(file, "utf8");
  if (!file.endsWith(".md")) return [[1, text]];
  const blocks = [...text.matchAll(/^```kql\n(.+?)^```/gms)];
  const found = blocks.map((block) => [text.slice(0, block.index).split("\n").length + 1, block[1]]);
  const before = found.map(([, query]) => query).filter((query) => /;\s*$/.test(query));
  const rest = found.filter(([, query]) => !before.includes(query));
  const after = (lines) => rest.map(([line, query]) => [line - lines.split("\n").length + 1, lines + query]);
  return [...rest, ...before.flatMap(after)];
}

function complaints(language, globals, query) {
  const found = language.KustoCode.ParseAndAnalyze(query, globals).GetDiagnostics();
  return Array.from({ length: found.Count }, (_, index) => found.getItem(index)).map((one) => [
    query.slice(0, one.Start).split("\n").length - 1,
    one.Message,
  ]);
}

function main(folder, files) {
  const language = languageService(path.resolve(folder));
  const globals = withTables(language);
  let checked = 0;
  let wrong = 0;
  for (const file of files) {
    for (const [start, query] of queries(file)) {
      checked += 1;
      for (const [line, message] of complaints(language, globals, query)) {
        wrong += 1;
        console.log(`${file}:${start + line}: ${message}`);
      }
    }
  }
  console.log(`${checked} queries, ${wrong} mistakes`);
  return checked && !wrong ? 0 : 1;
}

process.exitCode = main(process.argv[2], process.argv.slice(3));
