module.exports = (who) => `hello from ${who}, the first time\n`;
