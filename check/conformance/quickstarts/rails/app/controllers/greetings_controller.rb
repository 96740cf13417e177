class GreetingsController < ActionController::API
  def show
    Visit.create!
    render plain: "hello from Rails, the first time; visit #{Visit.count}\n"
  end
end
