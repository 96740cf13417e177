require "sinatra"

get "/" do
  "hello from Sinatra, the first time\n"
end
